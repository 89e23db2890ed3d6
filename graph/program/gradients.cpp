#include <algorithm>
#include <memory>
#include <optional>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/structure.hpp>
#include <tapestry/autodiff/variable.hpp>
#include <tapestry/graph/program/backward_operation.hpp>
#include <tapestry/graph/program/fused_operation.hpp>
#include <tapestry/graph/program/graph.hpp>
#include <tapestry/graph/program/window.hpp>

namespace tapestry::detail {
namespace {

/// A gradient summed over the axes along which its variable was broadcast.
template <class T>
class SumTo final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  explicit SumTo(const Shape& target) : target_(target) {}
  std::string_view name() const override { return "sum_to"; }
  Shape shape(const Shapes&, int) const override { return target_; }
  void forward(Forward<T>& c) override { sum_to(c.input(0).data, c.input(0).shape, c.output().data, target_, false); }

 private:
  Shape target_;
};

class Differentiator {
 public:
  Differentiator(ProgramGraph& graph, const std::vector<ValueId>& wanted)
      : graph_(graph), gradient_(graph.values.size(), no_value), table_(graph.values.size(), nowhere) {
    for (std::size_t k = 0; k < wanted.size(); ++k)
      if (graph_.values[wanted[k]].kind == ProgramValue::Kind::variable) table_[wanted[k]] = k;
    for (const ProgramStep& step : graph_.steps)
      if (rows_of(step) == nullptr)
        for (const ValueId input : step.inputs) table_[input] = nowhere;
  }

  void run() {
    const ValueId result = graph_.outputs[0];
    ProgramValue one{ProgramValue::Kind::constant, graph_.values[result].shape, false, {}, no_value};
    one.node = make_leaf(graph_.dtype, one.shape, false);
    if (graph_.dtype == DType::float32)
      *one.node->data<float>() = 1;
    else
      *one.node->data<double>() = 1;
    one.root = static_cast<ValueId>(graph_.values.size());
    graph_.values.push_back(one);
    add(result, one.root);
    for (std::size_t i = graph_.steps.size(); i-- > 0;) {
      const ProgramStep step = graph_.steps[i];  // the list grows
      const auto has = [&](ValueId id) { return gradient(id) != no_value; };
      if (std::none_of(step.outputs.begin(), step.outputs.end(), has)) continue;
      if (std::none_of(step.inputs.begin(), step.inputs.end(), [&](ValueId id) { return wanted(id); })) continue;
      scope_ = step.scope;
      if (table_[step.inputs[0]] != nowhere)
        rows_.push_back({table_[step.inputs[0]], gradient(step.outputs[0]), *rows_of(step)});
      else if (step.operation && step.operation->shares_input() && step.operation->linearity() == Linearity::linear)
        add(step.inputs[0], graph_.alias(gradient(step.outputs[0]), graph_.values[step.inputs[0]].shape));
      else if (step.window != nullptr)
        spread(step, ElementwiseForm::Kind::window, transposed(*step.window, shape(step.inputs[0]).elements()));
      else if (dynamic_cast<const SummingOperation*>(step.operation.get()) != nullptr &&
               shape(step.outputs[0]).elements() == 1)
        spread(step, ElementwiseForm::Kind::broadcast, nullptr);
      else if (!elementwise(step))
        general(step);
    }
  }

  ValueId gradient(ValueId id) const { return id < gradient_.size() ? gradient_[id] : no_value; }
  /// In the order in which the tape finds them.
  std::vector<RowsGradient> take_rows() { return std::move(rows_); }

 private:
  static constexpr std::size_t nowhere = ~std::size_t{0};

  static const Indices* rows_of(const ProgramStep& step) {
    const auto* rows = dynamic_cast<const RowsOperation*>(step.operation.get());
    return rows == nullptr ? nullptr : rows->rows();
  }
  bool wanted(ValueId id) const { return graph_.values[id].differentiable; }
  const Shape& shape(ValueId id) const { return graph_.values[id].shape; }

  ValueId append(ProgramStep step, const Shape& result) {
    step.scope = scope_;
    step.outputs = {graph_.add(result)};
    graph_.steps.push_back(std::move(step));
    return graph_.steps.back().outputs[0];
  }
  ValueId form(const char* name, ElementwiseForm::Kind kind, int function, std::vector<ValueId> inputs, double p = 0,
               double q = 0) {
    ProgramStep step;
    step.name = name;
    step.inputs = std::move(inputs);
    step.elementwise = true;
    step.form = {kind, function, p, q};
    const Shape result = shape(step.inputs[0]);
    return append(std::move(step), result);
  }

  // The gradient's elements at other places of the input's shape.
  void spread(const ProgramStep& step, ElementwiseForm::Kind kind, std::shared_ptr<const Window> window) {
    ProgramStep back;
    back.name = step.name;
    back.inputs = {gradient(step.outputs[0])};
    back.elementwise = true;
    back.form = {kind};
    back.window = std::move(window);
    add(step.inputs[0], append(std::move(back), shape(step.inputs[0])));
  }

  // A gradient of the output's shape (or already of the input's).
  void add(ValueId input, ValueId g) {
    if (!wanted(input)) return;
    if (shape(g) != shape(input)) {
      ProgramStep step;
      step.name = "sum_to";
      step.operation = graph_.dtype == DType::float32 ? SharedOperation(new SumTo<float>(shape(input)))
                                                      : SharedOperation(new SumTo<double>(shape(input)));
      step.inputs = {g};
      g = append(std::move(step), shape(input));
    }
    ValueId& sum = gradient_[input];
    sum = sum == no_value ? g : form("add", ElementwiseForm::Kind::binary, static_cast<int>(Binary::add), {sum, g});
  }

  bool elementwise(const ProgramStep& step) {
    using Kind = ElementwiseForm::Kind;
    if (!step.elementwise) return false;
    const ValueId y = step.outputs[0], g = gradient(y);
    for (const ValueId input : step.inputs)
      if (!broadcast_pattern(shape(input), shape(y))) return false;
    const int function = step.form.function;
    const auto& x = step.inputs;
    switch (step.form.kind) {
      case Kind::unary: {
        const auto f = static_cast<Unary>(function);
        if (zero_derivative(f)) return true;
        std::vector<ValueId> inputs{g};
        if (backward_reads_output(f)) inputs.push_back(y);
        if (backward_reads_input(f)) inputs.push_back(x[0]);
        add(x[0], form(step.name.c_str(), Kind::unary_backward, function, inputs));
        return true;
      }
      case Kind::parametric:
        add(x[0], form(step.name.c_str(), Kind::parametric_backward, function, {g, x[0]}, step.form.p, step.form.q));
        return true;
      case Kind::binary: {
        const auto f = static_cast<Binary>(function);
        if (zero_derivative(f)) return true;
        for (const int i : {0, 1}) {
          const ValueId input = x[static_cast<std::size_t>(i)];
          if (!wanted(input)) continue;
          if (f == Binary::add || (f == Binary::subtract && i == 0)) {
            add(input, g);
            continue;
          }
          if (f == Binary::subtract) {
            add(input, form("negative", Kind::unary, static_cast<int>(Unary::negative), {g}));
            continue;
          }
          std::vector<ValueId> inputs{g};
          if (f == Binary::multiply) {
            const ValueId other = x[static_cast<std::size_t>(1 - i)];
            add(input, form("multiply", Kind::binary_backward_a, function, {g, other, other}));
            continue;
          }
          if (backward_reads_inputs(f)) inputs.insert(inputs.end(), x.begin(), x.end());
          if (backward_reads_output(f)) inputs.push_back(y);
          add(input,
              form(step.name.c_str(), i == 0 ? Kind::binary_backward_a : Kind::binary_backward_b, function, inputs));
        }
        return true;
      }
      case Kind::select:
        for (const std::size_t i : {std::size_t{1}, std::size_t{2}})
          if (wanted(x[i])) add(x[i], form("where", Kind::select_backward, 0, {g, x[0]}, i == 1 ? 1 : 0));
        return true;
      case Kind::broadcast:
        add(x[0], g);
        return true;
      default:
        return false;
    }
  }

  void general(const ProgramStep& step) {
    BackwardLayout layout;
    ProgramStep backward;
    const OperationBase& operation = *step.operation.get();
    const std::uint32_t needs = operation.needs();
    layout.several_outputs = operation.outputs() != 1;
    std::vector<ValueId> before;
    std::vector<ValueId> targets;
    for (std::size_t i = 0; i < step.inputs.size(); ++i) {
      const ValueId input = step.inputs[i];
      layout.input_shapes.push_back(shape(input));
      if (needs_input(needs, i)) {
        layout.read_inputs.push_back(static_cast<int>(i));
        backward.inputs.push_back(input);
      }
      layout.place.push_back(-1);
      if (!wanted(input)) continue;
      const auto found = std::find(targets.begin(), targets.end(), input);
      layout.place.back() = static_cast<int>(found - targets.begin());
      if (found != targets.end()) continue;
      if (gradient(input) != no_value) {
        layout.added.push_back(layout.place.back());
        before.push_back(gradient(input));
      }
      layout.results.push_back(static_cast<int>(i));
      targets.push_back(input);
    }
    layout.reads_outputs = (needs & Needs::output) != 0;
    if (layout.reads_outputs) backward.inputs.insert(backward.inputs.end(), step.outputs.begin(), step.outputs.end());
    for (std::size_t k = 0; k < step.outputs.size(); ++k) {
      layout.output_shapes.push_back(shape(step.outputs[k]));
      if (gradient(step.outputs[k]) == no_value) continue;
      layout.gradients.push_back(static_cast<int>(k));
      backward.inputs.push_back(gradient(step.outputs[k]));
    }
    backward.inputs.insert(backward.inputs.end(), before.begin(), before.end());
    const auto make = [&]<class T>(T) {
      auto made = std::make_unique<BackwardOperation<T>>(step.operation, layout);
      backward.in_place = made->in_place();
      backward.name = made->name();
      backward.operation = SharedOperation(made.release());
    };
    if (graph_.dtype == DType::float32)
      make(float());
    else
      make(double());
    backward.scope = step.scope;
    for (const ValueId target : targets) {
      backward.outputs.push_back(graph_.add(shape(target)));
      gradient_[target] = backward.outputs.back();
    }
    graph_.steps.push_back(std::move(backward));
  }

  ProgramGraph& graph_;
  std::vector<ValueId> gradient_;
  // For each captured value its place among the wanted ones, where it is a variable that is only looked up in.
  std::vector<std::size_t> table_;
  std::vector<RowsGradient> rows_;
  std::uint32_t scope_ = 0;
};

}  // namespace

AppendedGradients append_gradients(ProgramGraph& graph, const std::vector<ValueId>& wanted) {
  Differentiator differentiator(graph, wanted);
  differentiator.run();
  AppendedGradients out;
  for (const ValueId id : wanted) out.whole.push_back(differentiator.gradient(id));
  out.rows = differentiator.take_rows();
  return out;
}

}  // namespace tapestry::detail
