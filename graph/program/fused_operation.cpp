#include <tapestry/graph/program/fused_operation.hpp>

#include <algorithm>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/graph/program/window.hpp>

namespace tapestry::detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 16384;
// Memory of intermediate results.
constexpr std::size_t scratch_bytes = 24576;
constexpr std::int64_t largest_block = 1024, smallest_block = 64;

using Kind = ElementwiseForm::Kind;

bool same_shape(const Shape& a, const Shape& b) {
  return a.elements() == b.elements();
}

// Whether the kernel can repeat one element for an operand.
bool takes_scalar(const ElementwiseForm& form, std::size_t operand) {
  switch (form.kind) {
    case Kind::binary:
    case Kind::select:
      return true;
    case Kind::binary_backward_a:
    case Kind::binary_backward_b:
      return operand == 1 || operand == 2;
    case Kind::select_backward:
      return operand == 1;
    default:
      return false;
  }
}

template <class T>
void spread(const T* from, const BroadcastPattern& pattern, std::int64_t begin, std::int64_t n, T* to) {
  std::int64_t at = (begin / pattern.inner) % pattern.count, within = begin % pattern.inner;
  if (pattern.inner == 1) {
    while (n > 0) {
      const std::int64_t length = std::min(n, pattern.count - at);
      to = std::copy_n(from + at, length, to);
      n -= length;
      at = 0;
    }
    return;
  }
  while (n > 0) {
    const std::int64_t length = std::min(n, pattern.inner - within);
    to = std::fill_n(to, length, from[at]);
    n -= length;
    within = 0;
    at = at + 1 == pattern.count ? 0 : at + 1;
  }
}

}  // namespace

std::optional<BroadcastPattern> broadcast_pattern(const Shape& from, const Shape& to) {
  if (same_shape(from, to)) return BroadcastPattern{1, std::max<std::int64_t>(1, to.elements())};
  const int shift = to.rank() - from.rank();
  if (shift < 0) return {};
  int first = to.rank(), last = -1;
  for (int i = shift; i < to.rank(); ++i)
    if (from[i - shift] != 1) first = std::min(first, i), last = i;
  BroadcastPattern out{1, 1};
  for (int i = 0; i < to.rank(); ++i) {
    const bool inside = i >= first && i <= last;
    if (inside && from[i - shift] != to[i]) return {};
    if (inside) out.count *= to[i];
    if (i > last) out.inner *= to[i];
  }
  return out;
}

template <class T>
typename FusedOperation<T>::Compiled FusedOperation<T>::compile(const FusedPlan& plan) {
  const std::size_t inputs = plan.input_shapes.size(), count = plan.steps.size();
  const std::int64_t n = plan.shape.elements();
  // What a step only repeats is read where it comes from.
  std::vector<std::uint32_t> source(inputs + count);
  std::vector<std::int64_t> kept(inputs + count, -1);
  for (std::size_t k = 0; k < plan.outputs.size(); ++k) kept[inputs + plan.outputs[k]] = static_cast<std::int64_t>(k);
  for (std::size_t i = 0; i < source.size(); ++i) {
    source[i] = static_cast<std::uint32_t>(i);
    if (i < inputs || plan.steps[i - inputs].form.kind != Kind::broadcast || kept[i] >= 0) continue;
    source[i] = source[plan.steps[i - inputs].operands[0]];
  }
  struct Draft {
    ElementwiseForm form;
    std::vector<std::uint32_t> operands;
    std::uint32_t result;
    bool spreads = false;
    const Window* window = nullptr;
  };
  std::vector<Draft> drafts;
  std::vector<std::uint32_t> spread_to(inputs, 0);
  std::uint32_t registers = static_cast<std::uint32_t>(inputs + count);
  const auto whole = [&](std::uint32_t r) { return r >= inputs || plan.input_shapes[r].elements() == n; };
  for (std::size_t s = 0; s < count; ++s) {
    const auto result = static_cast<std::uint32_t>(inputs + s);
    if (source[result] != result) continue;
    Draft draft{plan.steps[s].form, {}, result, false, plan.steps[s].window.get()};
    for (std::size_t i = 0; i < plan.steps[s].operands.size(); ++i) {
      std::uint32_t operand = source[plan.steps[s].operands[i]];
      const bool one = operand < inputs && plan.input_shapes[operand].elements() == 1;
      if (draft.window == nullptr && !whole(operand) && !(one && takes_scalar(draft.form, i))) {
        if (spread_to[operand] == 0) {
          spread_to[operand] = registers++;
          drafts.push_back({{}, {operand}, spread_to[operand], true, nullptr});
        }
        operand = spread_to[operand];
      }
      draft.operands.push_back(operand);
    }
    drafts.push_back(std::move(draft));
  }
  // Places: outputs in their memory, the rest in blocks of scratch memory that are used again.
  std::vector<std::size_t> last(registers, 0);
  for (std::size_t d = 0; d < drafts.size(); ++d)
    for (const std::uint32_t operand : drafts[d].operands) last[operand] = d;
  std::vector<std::size_t> slot(registers, 0), free;
  std::size_t slots = 0;
  const auto scratch = [&](std::uint32_t r) { return r >= inputs && (r >= inputs + count || kept[r] < 0); };
  for (std::size_t d = 0; d < drafts.size(); ++d) {
    // Not before: the same operand may stand there twice.
    std::vector<std::uint32_t> ended;
    for (const std::uint32_t operand : drafts[d].operands)
      if (scratch(operand) && last[operand] == d) ended.push_back(operand);
    std::sort(ended.begin(), ended.end());
    ended.erase(std::unique(ended.begin(), ended.end()), ended.end());
    for (const std::uint32_t operand : ended) free.push_back(slot[operand]);
    if (!scratch(drafts[d].result)) continue;
    if (free.empty()) free.push_back(slots++);
    slot[drafts[d].result] = free.back();
    free.pop_back();
  }
  Compiled out;
  const auto room = static_cast<std::int64_t>(scratch_bytes / sizeof(T) / std::max<std::size_t>(1, slots));
  out.block = std::min({room, largest_block, std::max<std::int64_t>(n, 1)});
  out.fits =
      out.block >= std::min(smallest_block, std::max<std::int64_t>(n, 1)) && inputs + plan.outputs.size() < most_arrays;
  if (out.block >= 16) out.block -= out.block % 16;
  const auto place = [&](std::uint32_t r) {
    Place at;
    if (scratch(r)) {
      at.offset = slot[r] * static_cast<std::size_t>(out.block);
      return at;
    }
    at.array = r < inputs ? r + 1 : static_cast<std::uint32_t>(inputs + 1 + static_cast<std::size_t>(kept[r]));
    at.scale = whole(r) ? 1 : 0;
    at.stride = at.scale;
    return at;
  };
  for (const Draft& draft : drafts) {
    Instruction instruction;
    instruction.form = draft.form;
    for (std::size_t i = 0; i < draft.operands.size(); ++i) instruction.operands[i] = place(draft.operands[i]);
    instruction.out = place(draft.result);
    instruction.window = draft.window;
    // A window is into the whole array.
    if (draft.window != nullptr) instruction.operands[0].scale = 0;
    if (draft.spreads) {
      instruction.form.kind = Kind::broadcast;
      instruction.pattern = *broadcast_pattern(plan.input_shapes[draft.operands[0]], plan.shape);
    } else if (draft.form.kind == Kind::broadcast) {
      instruction.pattern = {0, 0};
    }
    out.instructions.push_back(instruction);
  }
  return out;
}

template <class T>
bool FusedOperation<T>::fits(const FusedPlan& plan) {
  return compile(plan).fits;
}

template <class T>
FusedOperation<T>::FusedOperation(std::string name, FusedPlan plan)
    : name_(std::move(name)), plan_(std::move(plan)), compiled_(compile(plan_)) {}

template <class T>
void FusedOperation<T>::run(const T* const* base, T* const* out, std::int64_t begin, std::int64_t n) const {
  const ElementwiseKernels<T>& table = kernels<ElementwiseKernels<T>>();
  const auto size = static_cast<std::size_t>(n);
  const auto read = [&](const Place& at) { return base[at.array] + at.scale * begin + at.offset; };
  for (const Instruction& i : compiled_.instructions) {
    T* const y = out[i.out.array] + i.out.scale * begin + i.out.offset;
    const T* const a = read(i.operands[0]);
    const auto f = static_cast<std::size_t>(i.form.function);
    switch (i.form.kind) {
      case Kind::unary:
        table.unary[f](a, y, size);
        break;
      case Kind::parametric:
        table.parametric[f](a, static_cast<T>(i.form.p), static_cast<T>(i.form.q), y, size);
        break;
      case Kind::binary:
        table.binary[f](a, i.operands[0].stride, read(i.operands[1]), i.operands[1].stride, y, size);
        break;
      case Kind::select:
        table.select(a, i.operands[0].stride, read(i.operands[1]), i.operands[1].stride, read(i.operands[2]),
                     i.operands[2].stride, y, size);
        break;
      case Kind::broadcast:
        if (i.pattern.count == 0)
          std::copy_n(a, size, y);
        else
          spread(a, i.pattern, begin, n, y);
        break;
      case Kind::window:
        copy_window(*i.window, a, begin, n, y);
        break;
      case Kind::unary_backward:
        // The kernel reads the input or the output, whichever operand 1 is.
        table.unary_backward[f](a, read(i.operands[1]), read(i.operands[1]), y, size, false);
        break;
      case Kind::parametric_backward:
        table.parametric_backward[f](a, read(i.operands[1]), static_cast<T>(i.form.p), static_cast<T>(i.form.q), y,
                                     size, false);
        break;
      case Kind::binary_backward_a:
        table.binary_backward_a[f](a, read(i.operands[1]), i.operands[1].stride, read(i.operands[2]),
                                   i.operands[2].stride, read(i.operands[3]), y, size, false);
        break;
      case Kind::binary_backward_b:
        table.binary_backward_b[f](a, read(i.operands[1]), i.operands[1].stride, read(i.operands[2]),
                                   i.operands[2].stride, read(i.operands[3]), y, size, false);
        break;
      case Kind::select_backward:
        table.select_backward(a, read(i.operands[1]), i.operands[1].stride, i.form.p != 0, y, size, false);
        break;
    }
  }
}

template <class T>
void FusedOperation<T>::forward(Forward<T>& c) {
  const std::size_t inputs = plan_.input_shapes.size();
  const std::int64_t n = plan_.shape.elements();
  parallel_for(n, grain, [&](std::int64_t first, std::int64_t end) {
    alignas(64) T scratch[scratch_bytes / sizeof(T)];
    const T* base[most_arrays + 1];
    T* out[most_arrays + 1];
    base[0] = out[0] = scratch;
    for (std::size_t i = 0; i < inputs; ++i) base[i + 1] = c.input(static_cast<int>(i)).data;
    for (std::size_t k = 0; k < plan_.outputs.size(); ++k)
      base[inputs + 1 + k] = out[inputs + 1 + k] = c.output(static_cast<int>(k)).data;
    for (std::int64_t begin = first; begin < end; begin += compiled_.block)
      run(base, out, begin, std::min(compiled_.block, end - begin));
  });
}

template <class T>
std::vector<InPlace> FusedOperation<T>::in_place() const {
  const std::size_t inputs = plan_.input_shapes.size();
  // When each input is read last, and each output written.
  std::vector<std::size_t> last(inputs, 0), written(plan_.outputs.size(), 0);
  for (std::size_t s = 0; s < compiled_.instructions.size(); ++s) {
    const Instruction& instruction = compiled_.instructions[s];
    for (const Place& operand : instruction.operands)
      if (operand.array > 0 && operand.array <= inputs)
        last[operand.array - 1] =
            std::max(last[operand.array - 1], instruction.window != nullptr ? compiled_.instructions.size() : s);
    if (instruction.out.array > inputs) written[instruction.out.array - 1 - inputs] = s;
  }
  std::vector<InPlace> out;
  for (std::size_t k = 0; k < written.size(); ++k)
    for (std::size_t i = 0; i < inputs; ++i)
      if (last[i] <= written[k] && plan_.input_shapes[i].elements() == plan_.shape.elements())
        out.push_back({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(k)});
  return out;
}

template class FusedOperation<float>;
template class FusedOperation<double>;

}  // namespace tapestry::detail
