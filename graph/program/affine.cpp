#include <tapestry/graph/program/affine.hpp>

#include <algorithm>
#include <optional>

#include <tapestry/autodiff/few_rows.hpp>
#include <tapestry/autodiff/ops/affine.hpp>
#include <tapestry/autodiff/ops/structure.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;

// Rows of W whose gradient is in the nearest cache at a time, and elements of W that a thread takes at once.
constexpr Int block_rows = 8;
constexpr Int chunk_elements = 32768;

/// activation(x W + b) with few rows x.
struct FewRows {
  Activation activation;
  Int rows, in, out;
};

std::optional<FewRows> few_rows(const OperationBase* operation, const Shape& x, const Shape& w) {
  const auto* affine = dynamic_cast<const AffineOperation*>(operation);
  if (affine == nullptr || !affine->affine() || w.rank() != 2 || w[0] == 0) return std::nullopt;
  const FewRows size{affine->activation(), x.elements() / w[0], w[0], w[1]};
  if (!few_rows_win(size.rows, size.out, size.in)) return std::nullopt;
  return size;
}

template <class T>
class AffineForward final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  AffineForward(SharedOperation operation, const FewRows& size) : operation_(std::move(operation)), size_(size) {}
  std::string_view name() const override { return operation_->name(); }
  Shape shape(const Shapes& in, int i) const override { return operation_->shape(in, i); }
  void forward(Forward<T>& c) override {
    T* const y = c.output().data;
    few_rows_product(size_.rows, size_.out, size_.in, c.input(0).data, c.input(1).data, y);
    add_bias_and_activate(size_.activation, size_.rows, size_.out, c.inputs() > 2 ? c.input(2).data : nullptr, y);
  }

 private:
  SharedOperation operation_;
  FewRows size_;
};

/// The gradients of such a product, with inputs and outputs as BackwardOperation has them; W's is left out where W is
/// updated.
template <class T>
class AffineBackward final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  AffineBackward(const BackwardOperation<T>& of, const FewRows& size, std::shared_ptr<UpdateRun<T>> run,
                 std::size_t parameter)
      : name_(of.name()), layout_(of.layout()), size_(size), run_(std::move(run)), parameter_(parameter) {
    if (run_ != nullptr) name_ += ", update";
  }
  std::string_view name() const override { return name_; }
  int outputs() const override { return static_cast<int>(layout_.results.size()) - (run_ != nullptr ? 1 : 0); }
  Shape shape(const Shapes&, int output) const override {
    const int place = run_ != nullptr && output >= layout_.place[1] ? output + 1 : output;
    return layout_.input_shapes[static_cast<std::size_t>(layout_.results[static_cast<std::size_t>(place)])];
  }

  void forward(Forward<T>& c) override {
    const T *const x = c.input(0).data, *const w = c.input(1).data;
    const T* const y = layout_.reads_outputs ? c.input(2).data : nullptr;
    const int gradient = layout_.reads_outputs ? 3 : 2;
    const T* const g = c.input(gradient).data;
    const bool inner = size_.activation != Activation::none;
    const Scratch<T> scratch(inner ? static_cast<std::size_t>(size_.rows * size_.out) : 0);
    const T* const gz = inner ? scratch.data() : g;
    const Result to_x = result(c, 0, gradient), to_w = result(c, 1, gradient), to_bias = result(c, 2, gradient);
    if (to_bias.data != nullptr && !to_bias.add) std::fill_n(to_bias.data, size_.out, T(0));
    before_activation(size_.activation, size_.rows, size_.out, g, y, scratch.data(), to_bias.data);
    if (run_ != nullptr && run_->begin(parameter_)) {
      update(x, w, gz, to_x);
      run_->rule->end(parameter_);
      return;
    }
    if (to_x.data != nullptr) few_rows_transposed(size_.rows, size_.in, size_.out, gz, w, to_x.add, to_x.data);
    if (to_w.data != nullptr) few_rows_outer(size_.in, size_.out, size_.rows, x, gz, to_w.add, to_w.data);
  }

 private:
  struct Result {
    T* data = nullptr;
    bool add = false;
  };
  // Where the gradient of an input goes, with what was collected before already there.
  Result result(Forward<T>& c, std::size_t input, int gradient) const {
    if (input >= layout_.place.size() || layout_.place[input] < 0 || (input == 1 && run_ != nullptr)) return {};
    const int place = layout_.place[input];
    const auto out = c.output(run_ != nullptr && place > layout_.place[1] ? place - 1 : place);
    const auto added = std::find(layout_.added.begin(), layout_.added.end(), place);
    if (added == layout_.added.end()) return {out.data, false};
    const auto before = c.input(gradient + 1 + static_cast<int>(added - layout_.added.begin()));
    if (before.data != out.data) std::copy_n(before.data, before.size(), out.data);
    return {out.data, true};
  }

  // Rows of W are read for the gradient of x, and then updated from theirs.
  void update(const T* x, const T* w, const T* gz, const Result& to_x) const {
    const auto [activation, rows, in, out] = size_;
    const Int grain = std::max<Int>(block_rows, chunk_elements / out / block_rows * block_rows);
    // Sums over few columns are better taken at once.
    const bool apart = out < chunk_elements / 512 || !few_rows_transposed_wins<T>(rows, in, out);
    if (apart && to_x.data != nullptr) few_rows_transposed(rows, in, out, gz, w, to_x.add, to_x.data);
    parallel_for(in, grain, [&, n = rows, depth = in, width = out](Int begin, Int end) {
      if (!apart && to_x.data != nullptr)
        few_rows_transposed_part(n, depth, width, gz, w, to_x.add, to_x.data, begin, end);
      if (run_->rule->update_rows(parameter_, {x, gz, n, depth, width}, begin, end)) return;
      const Scratch<T> block(static_cast<std::size_t>(block_rows * width));
      for (Int i = begin; i < end; i += block_rows) {
        const Int last = std::min(i + block_rows, end);
        few_rows_outer_part(depth, width, n, x, gz, false, block.data(), i, last);
        run_->rule->update_elements(parameter_, block.data(), i * width, (last - i) * width);
      }
    });
  }

  std::string name_;
  BackwardLayout layout_;
  FewRows size_;
  std::shared_ptr<UpdateRun<T>> run_;
  std::size_t parameter_;
};

/// The size of the product whose gradients a step computes as a general operation does.
template <class T>
std::optional<FewRows> gradient_of_few_rows(const ProgramGraph& graph, const ProgramStep& step) {
  const auto* of = dynamic_cast<const BackwardOperation<T>*>(step.operation.get());
  if (of == nullptr) return std::nullopt;
  const BackwardLayout& layout = of->layout();
  if (layout.input_shapes.size() < 2 || layout.read_inputs.size() != 2) return std::nullopt;
  // The same variable twice has one gradient, and only what the products read is known to be another.
  const auto root = [&](std::size_t input) { return graph.values[step.inputs[input]].root; };
  const auto& place = layout.place;
  for (std::size_t i = 0; i < place.size(); ++i)
    for (std::size_t k = 0; k < i; ++k)
      if (place[i] >= 0 && place[i] == place[k]) return std::nullopt;
  if (root(0) == root(1)) return std::nullopt;
  return few_rows(&of->operation(), layout.input_shapes[0], layout.input_shapes[1]);
}

template <class T>
void stream(ProgramGraph& graph) {
  for (ProgramStep& step : graph.steps) {
    if (!step.operation) continue;
    if (step.inputs.size() >= 2 && step.outputs.size() == 1)
      if (const auto size =
              few_rows(step.operation.get(), graph.values[step.inputs[0]].shape, graph.values[step.inputs[1]].shape)) {
        step.operation = SharedOperation(new AffineForward<T>(step.operation, *size));
        continue;
      }
    if (const auto size = gradient_of_few_rows<T>(graph, step))
      step.operation = SharedOperation(
          new AffineBackward<T>(dynamic_cast<const BackwardOperation<T>&>(*step.operation.get()), *size, nullptr, 0));
  }
}

}  // namespace

void stream_few_rows(ProgramGraph& graph) {
  if (graph.dtype == DType::float32)
    stream<float>(graph);
  else
    stream<double>(graph);
}

template <class T>
bool update_in_step(ProgramGraph& graph, ProgramStep& step, std::size_t result, std::shared_ptr<UpdateRun<T>> run,
                    std::size_t parameter) {
  const auto size = gradient_of_few_rows<T>(graph, step);
  if (!size) return false;
  const auto& of = dynamic_cast<const BackwardOperation<T>&>(*step.operation.get());
  const BackwardLayout& layout = of.layout();
  const int place = static_cast<int>(result);
  if (layout.place[1] != place || std::count(layout.added.begin(), layout.added.end(), place) != 0) return false;
  step.operation = SharedOperation(new AffineBackward<T>(of, *size, std::move(run), parameter));
  step.name = step.operation->name();
  step.outputs.erase(step.outputs.begin() + place);
  for (InPlace& pair : step.in_place)
    if (pair.output > result) --pair.output;
  // A step of a program has a result.
  if (step.outputs.empty()) step.outputs = {graph.add(Shape{0})};
  return true;
}

template bool update_in_step(ProgramGraph&, ProgramStep&, std::size_t, std::shared_ptr<UpdateRun<float>>, std::size_t);
template bool update_in_step(ProgramGraph&, ProgramStep&, std::size_t, std::shared_ptr<UpdateRun<double>>, std::size_t);

}  // namespace tapestry::detail
