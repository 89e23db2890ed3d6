#include <tapestry/graph/program/window.hpp>

#include <algorithm>
#include <numeric>

#include <tapestry/autodiff/ops/structure.hpp>

namespace tapestry::detail {
namespace {

// Shorter runs are left to the operations.
constexpr std::int64_t shortest = 8;

void finish(Window& window, std::int64_t elements) {
  std::sort(window.runs.begin(), window.runs.end(), [](const auto& a, const auto& b) { return a.to < b.to; });
  window.whole = window.length * static_cast<std::int64_t>(window.runs.size()) == elements;
}

std::shared_ptr<const Window> window_of(const RelocatingOperation& operation) {
  const Relocation relocation = operation.relocation();
  const View& view = relocation.view;
  Window out;
  out.length = 1;
  out.fill = relocation.fill;
  int outer = view.part.rank();
  while (outer > 0 && (view.part[outer - 1] == 1 || view.strides[static_cast<std::size_t>(outer - 1)] == out.length))
    out.length *= view.part[--outer];
  if (out.length < shortest || view.part.elements() == 0) return nullptr;
  const std::int64_t count = view.part.elements() / out.length;
  for (std::int64_t r = 0; r < count; ++r) {
    std::int64_t rest = r, at = view.offset;
    for (int axis = outer - 1; axis >= 0; --axis) {
      at += rest % view.part[axis] * view.strides[static_cast<std::size_t>(axis)];
      rest /= view.part[axis];
    }
    const std::int64_t packed = r * out.length;
    out.runs.push_back(relocation.place ? Window::Run{at, packed} : Window::Run{packed, at});
  }
  finish(out, relocation.place ? view.whole.elements() : view.part.elements());
  return std::make_shared<const Window>(std::move(out));
}

/// `second` on what `first` fills wholly.
std::shared_ptr<const Window> composed(const Window& first, const Window& second) {
  Window out;
  out.length = std::gcd(first.length, second.length);
  if (!first.whole || out.length < shortest) return nullptr;
  out.fill = second.fill;
  out.whole = second.whole;
  for (const Window::Run& run : second.runs)
    for (std::int64_t i = 0; i < second.length; i += out.length) {
      const Window::Run& source = first.runs[static_cast<std::size_t>((run.from + i) / first.length)];
      out.runs.push_back({run.to + i, source.from + (run.from + i) % first.length});
    }
  return std::make_shared<const Window>(std::move(out));
}

}  // namespace

std::shared_ptr<const Window> transposed(const Window& window, std::int64_t elements) {
  Window out;
  out.length = window.length;
  for (const Window::Run& run : window.runs) out.runs.push_back({run.from, run.to});
  finish(out, elements);
  return std::make_shared<const Window>(std::move(out));
}

template <class T>
void copy_window(const Window& window, const T* from, std::int64_t begin, std::int64_t n, T* to) {
  const std::int64_t end = begin + n;
  std::int64_t at = begin;
  auto run = std::upper_bound(window.runs.begin(), window.runs.end(), begin - window.length,
                              [](std::int64_t position, const Window::Run& r) { return position < r.to; });
  for (; run != window.runs.end() && run->to < end; ++run) {
    const std::int64_t first = std::max(run->to, begin), last = std::min(run->to + window.length, end);
    std::fill(to + (at - begin), to + (first - begin), static_cast<T>(window.fill));
    std::copy_n(from + run->from + (first - run->to), last - first, to + (first - begin));
    at = last;
  }
  std::fill(to + (at - begin), to + n, static_cast<T>(window.fill));
}

void find_windows(ProgramGraph& graph) {
  std::vector<const ProgramStep*> maker(graph.values.size(), nullptr);
  for (ProgramStep& step : graph.steps) {
    const auto* operation = dynamic_cast<const RelocatingOperation*>(step.operation.get());
    if (operation != nullptr && graph.values[step.outputs[0]].shape.elements() > 0) {
      step.window = window_of(*operation);
      if (step.window != nullptr) {
        step.elementwise = true;
        step.form = {ElementwiseForm::Kind::window};
        const ProgramStep* before = maker[step.inputs[0]];
        if (before != nullptr && before->window != nullptr) {
          if (auto both = composed(*before->window, *step.window)) {
            step.window = std::move(both);
            step.name = before->name + ", " + step.name;
            step.inputs = before->inputs;
            step.operation = {};
          }
        }
      }
    }
    for (const ValueId output : step.outputs) maker[output] = &step;
  }
}

template void copy_window(const Window&, const float*, std::int64_t, std::int64_t, float*);
template void copy_window(const Window&, const double*, std::int64_t, std::int64_t, double*);

}  // namespace tapestry::detail
