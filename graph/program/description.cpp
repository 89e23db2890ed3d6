#include <tapestry/graph/program/description.hpp>

#include <set>
#include <vector>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/ops/binary_operation.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/graph/program/fused_operation.hpp>

namespace tapestry::detail {
namespace {

using Kind = ProgramValue::Kind;
using Form = ElementwiseForm::Kind;

// Operands of a form that a captured function can have; 0 for others.
std::size_t operands(const ElementwiseForm& form) {
  const auto below = [&](auto count) { return form.function >= 0 && form.function < static_cast<int>(count); };
  switch (form.kind) {
    case Form::unary:
      return below(Unary::count) ? 1 : 0;
    case Form::parametric:
      return below(Parametric::count) ? 1 : 0;
    case Form::binary:
      return below(Binary::count) ? 2 : 0;
    case Form::select:
      return 3;
    case Form::broadcast:
      return 1;
    default:
      return 0;
  }
}

bool by_form(const ProgramGraph& graph, const ProgramStep& step) {
  if (!step.elementwise) return false;
  for (const ValueId input : step.inputs)
    if (!broadcast_pattern(graph.values[input].shape, graph.values[step.outputs[0]].shape)) return false;
  return true;
}

// Whether the form says what the operation is where broadcasting is not simple, too.
bool has_operation(const ElementwiseForm& form) {
  return form.kind == Form::binary || form.kind == Form::select;
}

SharedOperation operation_of(const ElementwiseForm& form, DType type) {
  const auto made = [&]<class T>(T) {
    if (form.kind == Form::binary) return SharedOperation(binary_of_kernel<T>(static_cast<Binary>(form.function)));
    Attributes none;
    return SharedOperation((*find_operation("where", dtype_of<T>))(none));
  };
  return type == DType::float32 ? made(float()) : made(double());
}

void exchange(Attributes& a, ProgramGraph& graph, ProgramValue& value, ValueId id) {
  a(value.kind);
  a(value.differentiable);
  a(value.root);
  a(value.shape);
  Attributes::require(value.kind >= Kind::input && value.kind <= Kind::computed);
  const auto bytes = static_cast<std::size_t>(value.shape.elements()) * element_size(graph.dtype);
  if (value.kind == Kind::variable || value.kind == Kind::constant) {
    Attributes::require(value.root == id && (!a.reading() || bytes <= a.rest()));
    if (a.reading())
      value.node = make_leaf(graph.dtype, value.shape, value.kind == Kind::variable && value.differentiable);
    a.raw(value.node->value->data, bytes);
  }
}

void exchange(Attributes& a, ProgramStep& step) {
  std::string scope = a.reading() ? std::string() : scope_name(step.scope);
  a(step.name);
  a(scope);
  a(step.elementwise);
  a(step.inputs);
  a(step.outputs);
  if (a.reading() && !scope.empty()) {
    const Scope named(scope);
    step.scope = current_scope();
  }
  if (!step.elementwise) return;
  a(step.form.kind);
  a(step.form.function);
  a(step.form.p);
  a(step.form.q);
}

}  // namespace

std::string describe(ProgramGraph graph) {
  Attributes a;
  auto count = static_cast<std::int64_t>(graph.values.size());
  a(count);
  for (ValueId id = 0; id < graph.values.size(); ++id) exchange(a, graph, graph.values[id], id);
  count = static_cast<std::int64_t>(graph.steps.size());
  a(count);
  std::set<std::string> impossible;
  for (ProgramStep step : graph.steps) {
    step.elementwise = step.elementwise && (by_form(graph, step) || has_operation(step.form));
    exchange(a, step);
    if (step.elementwise) continue;
    auto* saved = dynamic_cast<SavedOperation*>(step.operation.get());
    if (saved == nullptr || find_operation(step.name, graph.dtype) == nullptr) {
      impossible.insert(step.name);
      continue;
    }
    Attributes own = a.next();
    saved->attributes(own);
    std::string bytes = own.bytes();
    a(bytes);
  }
  a(graph.inputs);
  a(graph.outputs);
  count = static_cast<std::int64_t>(graph.positions.size());
  a(count);
  for (Indices& positions : graph.positions) a.computed(positions);
  std::string names;
  for (const std::string& name : impossible) names += (names.empty() ? "" : ", ") + name;
  if (!names.empty()) fail<GraphError>("save_program", "there are operations that can't be saved: ", names);
  return a.bytes();
}

namespace {

/// Reads a graph, of which nothing is believed.
class Reader {
 public:
  Reader(std::string bytes, DType type, std::size_t most_bytes, std::uint32_t version)
      : a_(std::move(bytes)), most_bytes_(most_bytes), version_(version) {
    graph_.dtype = type;
  }

  ProgramGraph read() {
    const std::int64_t values = count(24);
    for (ValueId id = 0; id < static_cast<ValueId>(values); ++id) {
      graph_.values.emplace_back();
      exchange(a_, graph_, graph_.values.back(), id);
      if (const std::size_t bytes = graph_.bytes(id); bytes > most_bytes_)
        fail<IoError>("load_program", "a value of shape ", graph_.values.back().shape, " takes ", bytes,
                      " bytes, more than the ", most_bytes_, " that are allowed");
    }
    for (const ProgramValue& value : graph_.values) {
      Attributes::require(value.root < graph_.values.size());
      const ProgramValue& root = graph_.values[value.root];
      Attributes::require(root.root == value.root && root.shape.elements() == value.shape.elements());
      if (value.root != static_cast<ValueId>(&value - graph_.values.data()))
        Attributes::require(value.kind == Kind::computed);
      known_.push_back(value.kind != Kind::computed);
    }
    const std::int64_t steps = count(40);
    for (std::int64_t s = 0; s < steps; ++s) read_step();
    a_(graph_.inputs);
    a_(graph_.outputs);
    std::vector<char> seen(graph_.values.size(), 0);
    for (const ValueId id : graph_.inputs) {
      Attributes::require(id < graph_.values.size() && graph_.values[id].kind == Kind::input &&
                          graph_.values[id].root == id && seen[id] == 0);
      seen[id] = 1;
    }
    for (ValueId id = 0; id < graph_.values.size(); ++id)
      Attributes::require(graph_.values[id].kind != Kind::input || seen[id] != 0);
    Attributes::require(!graph_.outputs.empty());
    for (const ValueId id : graph_.outputs) Attributes::require(id < graph_.values.size() && is_known(id));
    if (version_ >= 2) read_positions();
    Attributes::require(a_.at_end());
    return std::move(graph_);
  }

 private:
  std::int64_t count(std::size_t smallest) {
    std::int64_t n = 0;
    a_(n);
    Attributes::require(n >= 0 && static_cast<std::size_t>(n) <= a_.rest() / smallest);
    return n;
  }
  bool is_known(ValueId id) const { return known_[graph_.values[id].root]; }

  void read_positions() {
    for (std::int64_t n = count(8); n > 0; --n) {
      graph_.positions.emplace_back();
      a_.computed(graph_.positions.back());
      Attributes::require(written_.contains(graph_.positions.back().data()));
    }
  }

  void read_step() {
    ProgramStep step;
    exchange(a_, step);
    Attributes::require(!step.outputs.empty());
    for (const ValueId id : step.inputs) Attributes::require(id < graph_.values.size() && is_known(id));
    for (const ValueId id : step.outputs)
      Attributes::require(id < graph_.values.size() && graph_.values[id].kind == Kind::computed);
    if (step.elementwise) {
      Attributes::require(operands(step.form) == step.inputs.size() && step.outputs.size() == 1);
      if (!by_form(graph_, step)) {
        Attributes::require(has_operation(step.form));
        step.operation = operation_of(step.form, graph_.dtype);
        check_shapes(step);
      }
    } else {
      read_operation(step);
    }
    const bool shares = step.operation && step.operation->shares_input();
    for (const ValueId id : step.outputs) {
      if (shares) {
        Attributes::require(!step.inputs.empty() && graph_.values[id].root == graph_.values[step.inputs[0]].root);
        continue;
      }
      Attributes::require(graph_.values[id].root == id && !known_[id]);
      known_[id] = true;
    }
    graph_.steps.push_back(std::move(step));
  }

  void read_operation(ProgramStep& step) {
    std::string bytes;
    a_(bytes);
    const OperationFactory* factory = find_operation(step.name, graph_.dtype);
    if (factory == nullptr)
      fail<IoError>("load_program", "the operation ", step.name, " is not known: register_operation() makes it so");
    Attributes own = a_.next(std::move(bytes));
    try {
      step.operation = SharedOperation((*factory)(own));
    } catch (const IoError&) {
      throw;
    } catch (const Error&) {
      Attributes::require(false);
    }
    Attributes::require(own.at_end());
    written_.insert(own.arrays_written().begin(), own.arrays_written().end());
    check_shapes(step);
  }

  void check_shapes(const ProgramStep& step) {
    std::vector<NodeRef> held;
    std::vector<Node*> nodes;
    for (const ValueId id : step.inputs) {
      held.emplace_back(new_node(graph_.dtype, graph_.values[id].shape));
      nodes.push_back(held.back().get());
    }
    Attributes::require(!nodes.empty());
    const Shapes inputs(nodes.data(), nodes.size());
    bool fits = true;
    try {
      if (auto* saved = dynamic_cast<SavedOperation*>(step.operation.get())) fits = saved->suits(inputs);
      fits = fits && step.operation->outputs() == static_cast<int>(step.outputs.size());
      for (std::size_t k = 0; fits && k < step.outputs.size(); ++k)
        fits = step.operation->shape(inputs, static_cast<int>(k)) == graph_.values[step.outputs[k]].shape;
    } catch (const Error&) {
      fits = false;
    }
    Attributes::require(fits);
  }

  Attributes a_;
  std::set<const void*> written_;
  std::size_t most_bytes_;
  std::uint32_t version_;
  ProgramGraph graph_;
  std::vector<bool> known_;
};

}  // namespace

ProgramGraph read_description(std::string bytes, DType type, std::size_t most_bytes, std::uint32_t version) {
  return Reader(std::move(bytes), type, most_bytes, version).read();
}

}  // namespace tapestry::detail
