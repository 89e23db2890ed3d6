#include <tapestry/graph/program/recorder.hpp>

#include <algorithm>

#include <tapestry/autodiff/bundle.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry::detail {

namespace {

// Whether a step finds these positions.
bool writes(const ProgramGraph& graph, const Indices& positions) {
  return std::any_of(graph.steps.begin(), graph.steps.end(), [&](const ProgramStep& step) {
    auto* saved = dynamic_cast<SavedOperation*>(step.operation.get());
    if (saved == nullptr) return false;
    Attributes a;
    saved->attributes(a);
    return std::count(a.arrays_written().begin(), a.arrays_written().end(), positions.data()) != 0;
  });
}

}  // namespace

ValueId Recorder::enter(Node* node, const ProgramValue& value) {
  const auto id = static_cast<ValueId>(graph_.values.size());
  graph_.values.push_back(value);
  if (value.root == no_value) graph_.values.back().root = id;
  ids_.insert_or_assign(node, id);
  held_.push_back(NodeRef::share(node));
  return id;
}

void Recorder::add_input(NodeRef node) {
  graph_.inputs.push_back(
      enter(node.get(), {ProgramValue::Kind::input, node->shape, node->requires_grad, {}, no_value}));
}

ValueId Recorder::find(Node* node) {
  const auto found = ids_.find(node);
  if (found != ids_.end()) return found->second;
  if (node->dtype != graph_.dtype)
    fail<GraphError>("capture", "a variable of shape ", node->shape, " is of another type than the program");
  if (node->recorded)
    fail<GraphError>("capture", "a variable of shape ", node->shape,
                     " was computed before, by operations that are not captured: make it an input, or detach() it");
  return enter(node, {ProgramValue::Kind::variable, node->shape, node->requires_grad, NodeRef::share(node), no_value});
}

void Recorder::applied(OperationBase& operation, Node* const* inputs, std::size_t count, Node* result) {
  if (operation.dtype() != graph_.dtype)
    fail<GraphError>(operation.name(), "is of another type than the program that is captured");
  ProgramStep step;
  step.operation = SharedOperation::share(&operation);
  step.name = operation.name();
  step.scope = current_scope();
  step.elementwise = operation.elementwise_form(step.form);
  for (std::size_t i = 0; i < count; ++i) step.inputs.push_back(find(inputs[i]));
  if (result->bundle == nullptr) {
    ProgramValue value{ProgramValue::Kind::computed, result->shape, result->requires_grad, {}, no_value};
    if (operation.shares_input()) value.root = graph_.values[step.inputs[0]].root;
    step.outputs.push_back(enter(result, value));
  } else {
    for (const Bundle::Slot& slot : result->bundle->slots) {
      step.outputs.push_back(graph_.add(slot.shape));
      graph_.values.back().differentiable = result->requires_grad;
    }
    bundles_.emplace(result, step.outputs);
    held_.push_back(NodeRef::share(result));
  }
  graph_.steps.push_back(std::move(step));
}

void Recorder::unbundled(const Node* bundle, int i, Node* output) {
  const auto found = bundles_.find(bundle);
  if (found == bundles_.end()) fail<GraphError>("capture", "an operation of several outputs was evaluated before");
  ids_.insert_or_assign(output, found->second[static_cast<std::size_t>(i)]);
  held_.push_back(NodeRef::share(output));
}

void Recorder::renamed(const Node* from, Node* to) {
  const ValueId id = find(const_cast<Node*>(from));
  enter(to, {ProgramValue::Kind::computed, to->shape, false, {}, graph_.values[id].root});
}

void Recorder::touched(const Node* node) {
  const auto found = ids_.find(node);
  const bool computed = found != ids_.end()
                            ? graph_.values[graph_.values[found->second].root].kind != ProgramValue::Kind::variable
                            : node->recorded;
  if (!computed && !node->requires_grad) return;
  fail<GraphError>("capture", "the function reads the value of a variable of shape ", node->shape,
                   ": what depends on values (branches, numbers of steps) can't be captured",
                   current_scope() != 0 ? " (in " + scope_name(current_scope()) + ")" : "");
}

ProgramGraph Recorder::finish(std::vector<NodeRef> results, std::vector<Indices> positions) {
  for (std::size_t i = 0; i < positions.size(); ++i)
    if (!writes(graph_, positions[i]))
      fail<GraphError>("capture", "positions ", i, " of shape ", positions[i].shape(),
                       " are not found by an operation of the function");
  graph_.positions = std::move(positions);
  for (const NodeRef& result : results) {
    if (!result) fail<GraphError>("capture", "a result is a variable without a value");
    graph_.outputs.push_back(find(result.get()));
  }
  results.clear();
  ids_.clear();
  bundles_.clear();
  held_.clear();
  constexpr std::uint64_t low = Node::value_reference - 1;
  for (ProgramValue& value : graph_.values)
    if (value.kind == ProgramValue::Kind::variable && !value.differentiable &&
        (value.node->references.load() & low) == 1)
      value.kind = ProgramValue::Kind::constant;
  return std::move(graph_);
}

}  // namespace tapestry::detail
