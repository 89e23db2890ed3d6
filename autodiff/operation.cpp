#include <tapestry/autodiff/operation.hpp>

#include <algorithm>
#include <array>

#include <tapestry/autodiff/bundle.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry {
namespace detail {
namespace {

class OperationGuard {
 public:
  explicit OperationGuard(OperationBase* operation) : operation_(operation) {}
  ~OperationGuard() { release_operation(operation_); }
  OperationGuard(const OperationGuard&) = delete;
  OperationGuard& operator=(const OperationGuard&) = delete;

 private:
  OperationBase* operation_;
};

// Pointers to the inputs' memory; on the stack unless there are many.
template <class P>
class Pointers {
 public:
  explicit Pointers(std::size_t n) {
    data_ = few_.data();
    if (n > few_.size()) {
      many_.resize(n);
      data_ = many_.data();
    }
  }
  P& operator[](std::size_t i) { return data_[i]; }
  const P* data() const { return data_; }

 private:
  std::array<P, 6> few_;
  std::vector<P> many_;
  P* data_;
};

std::string input_shapes(Node* const* inputs, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += (i ? ", " : "") + to_string(inputs[i]->shape);
  return text;
}

bool check_inputs(const OperationBase& operation, Node* const* inputs, std::size_t count, Tape*& tape) {
  bool requires_grad = false;
  for (std::size_t i = 0; i < count; ++i) {
    const Node* input = inputs[i];
    if (input == nullptr) fail<GraphError>(operation.name(), "input ", i, " is a variable without a value");
    if (input->cleared)
      fail<GraphError>(operation.name(), "input ", i, " of shape ", input->shape,
                       " belongs to a tape that was cleared");
    if (input->value == nullptr && input->bundle == nullptr) input->throw_no_value();
    requires_grad |= input->requires_grad;
  }
  if (!requires_grad || !gradients_enabled()) return false;
  tape = &Tape::current();
  if (!TapeAccess::nested(*tape))
    for (std::size_t i = 0; i < count; ++i)
      if (inputs[i]->recorded && inputs[i]->tape != tape)
        fail<GraphError>(operation.name(), "input ", i, " of shape ", inputs[i]->shape,
                         " was recorded on another tape; detach() it or record on one tape");
  return true;
}

void check_result(const OperationBase& operation, DType type, const void* data, std::int64_t n, Node* const* inputs,
                  std::size_t count) {
  const auto size = static_cast<std::size_t>(n);
  const bool finite = type == DType::float32
                          ? kernels<ElementwiseKernels<float>>().all_finite(static_cast<const float*>(data), size)
                          : kernels<ElementwiseKernels<double>>().all_finite(static_cast<const double*>(data), size);
  if (!finite)
    fail<NumericalError>(operation.name(), "the result is not finite; inputs of shapes ", input_shapes(inputs, count),
                         current_scope() != 0 ? " (in " + scope_name(current_scope()) + ")" : "");
}

void record(Node* out, OperationBase* operation, Node* const* inputs, std::size_t count, Tape& tape) {
  out->inputs = static_cast<Edge*>(pool_allocate(count * sizeof(Edge)));
  out->input_count = static_cast<std::uint16_t>(count);
  const std::uint32_t needs = operation->needs();
  for (std::size_t i = 0; i < count; ++i) {
    Node* input = inputs[i];
    const bool needed = needs_input(needs, i);
    retain(input, needed ? Node::handle_reference : Node::edge_reference);
    out->inputs[i] = {input, needed && input->value != nullptr ? input->value->version : 0, needed};
  }
  if ((needs & Needs::output) != 0 && out->value != nullptr) {
    out->output_needed = true;
    out->version = out->value->version;
    retain(out, Node::value_reference);
  }
  retain_operation(operation);
  out->operation = operation;
  out->requires_grad = true;
  out->scope = current_scope();
  TapeAccess::append(tape, out);
}

class OutputOfBundle final : public OperationBase {
 public:
  std::string_view name() const override { return "output"; }
  Shape shape(const Shapes&, int) const override { return {}; }
  std::uint32_t needs() const override { return Needs::nothing; }
  DType dtype() const override { return DType::float32; }
  void run_forward(const ForwardState&) override {}
  void run_backward(BackwardState&) override {}
  void run_vjp(VjpState&) override {}
  std::vector<NodeRef> run_jvp(JvpState&) override { return {}; }
};

}  // namespace

OperationBase* output_operation() {
  static OperationBase& operation = *new OutputOfBundle;
  return &operation;
}

NodeRef bundle_output(Node* bundle, int i) {
  const Bundle::Slot& slot = bundle->bundle->slots[static_cast<std::size_t>(i)];
  NodeRef out(new_node(bundle->dtype, slot.shape));
  out->value = StorageRef(slot.value).release();
  out->output_index = static_cast<std::uint32_t>(i);
  if (bundle->recorded) record(out.get(), output_operation(), &bundle, 1, *bundle->tape);
  if (Observer* watching = observer()) watching->unbundled(bundle, i, out.get());
  return out;
}

NodeRef apply_one(OperationBase* operation, Node* const* inputs, std::size_t count) {
  const OperationGuard guard(operation);
  Observed observed(*operation);
  Tape* tape = nullptr;
  const bool recorded = check_inputs(*operation, inputs, count, tape);
  NodeRef out(new_node(operation->dtype(), operation->shape(Shapes(inputs, count), 0)));
  observed.result(out->shape, 0);
  if (operation->shares_input()) {
    out->value = StorageRef::share(inputs[0]->value).release();
    if (recorded) record(out.get(), operation, inputs, count, *tape);
    observed.applied(*operation, inputs, count, out.get());
    return out;
  }
  out->value = new_storage(out->bytes());
  observed.result(out->shape, out->bytes());
  Pointers<const void*> data(count);
  Pointers<const Shape*> shapes(count);
  for (std::size_t i = 0; i < count; ++i) {
    data[i] = inputs[i]->value->data;
    shapes[i] = &inputs[i]->shape;
  }
  void* const output = out->value->data;
  const Shape* const output_shape = &out->shape;
  operation->run_forward({data.data(), shapes.data(), count, &output, &output_shape});
  if (anomaly_detection()) check_result(*operation, out->dtype, output, out->elements(), inputs, count);
  if (recorded) record(out.get(), operation, inputs, count, *tape);
  observed.applied(*operation, inputs, count, out.get());
  return out;
}

std::vector<NodeRef> apply_all(OperationBase* operation, Node* const* inputs, std::size_t count) {
  const OperationGuard guard(operation);
  Observed observed(*operation);
  Tape* tape = nullptr;
  const bool recorded = check_inputs(*operation, inputs, count, tape);
  NodeRef node(new_node(operation->dtype(), Shape()));
  node->bundle = new Bundle;
  const auto outputs = static_cast<std::size_t>(operation->outputs());
  Pointers<const void*> data(count);
  Pointers<const Shape*> shapes(count);
  for (std::size_t i = 0; i < count; ++i) {
    data[i] = inputs[i]->value->data;
    shapes[i] = &inputs[i]->shape;
  }
  Pointers<void*> results(outputs);
  Pointers<const Shape*> result_shapes(outputs);
  node->bundle->slots.resize(outputs);
  for (std::size_t i = 0; i < outputs; ++i) {
    Bundle::Slot& slot = node->bundle->slots[i];
    slot.shape = operation->shape(Shapes(inputs, count), static_cast<int>(i));
    slot.value = StorageRef(new_storage(static_cast<std::size_t>(slot.shape.elements()) * element_size(node->dtype)));
    results[i] = slot.value->data;
    result_shapes[i] = &slot.shape;
  }
  std::size_t bytes = 0;
  for (const Bundle::Slot& slot : node->bundle->slots) bytes += slot.value->bytes;
  observed.result(node->bundle->slots[0].shape, bytes);
  operation->run_forward({data.data(), shapes.data(), count, results.data(), result_shapes.data()});
  if (anomaly_detection())
    for (const Bundle::Slot& slot : node->bundle->slots)
      check_result(*operation, node->dtype, slot.value->data, slot.shape.elements(), inputs, count);
  if (recorded) record(node.get(), operation, inputs, count, *tape);
  observed.applied(*operation, inputs, count, node.get());
  std::vector<NodeRef> out;
  for (std::size_t i = 0; i < outputs; ++i) out.push_back(bundle_output(node.get(), static_cast<int>(i)));
  if (recorded && (operation->needs() & Needs::output) == 0)
    for (Bundle::Slot& slot : node->bundle->slots) slot.value = StorageRef();
  return out;
}

}  // namespace detail

template <class T>
void Operation<T>::backward(Backward<T>& context) {
  detail::BackwardState& state = detail::state_of(context);
  const NoGradients off;
  detail::VjpState rule{&state.sweep, state.node, {}};
  if (state.node->bundle == nullptr)
    rule.gradient = detail::make_leaf(detail::dtype_of<T>, state.node->shape, state.gradient, false);
  if (state.planned == nullptr) {
    run_vjp(rule);
    return;
  }
  detail::PooledVector<detail::NodeRef> found(state.node->input_count);
  rule.collected = found.data();
  run_vjp(rule);
  for (std::size_t i = 0; i < found.size(); ++i)
    if (found[i] && state.planned[i]->data != nullptr)
      detail::add_planned(*state.planned[i], found[i].get(), found[i]->value->data);
}

template <class T>
void Operation<T>::vjp(Vjp<T>&) {
  fail<GraphError>(name(), "has no derivative rule in operations (vjp), which higher orders and forward mode need");
}

template <class T>
std::vector<Var<T>> Operation<T>::jvp(Jvp<T>&) {
  return {};
}

template <class T>
std::vector<detail::NodeRef> Operation<T>::run_jvp(detail::JvpState& state) {
  Jvp<T> context(state);
  std::vector<detail::NodeRef> out;
  for (const Var<T>& tangent : jvp(context)) out.push_back(tangent.reference());
  return out;
}

template <class T>
Var<T> apply(std::unique_ptr<Operation<T>> operation, std::span<const Var<T>> inputs) {
  std::vector<detail::Node*> nodes;
  for (const Var<T>& input : inputs) nodes.push_back(input.node());
  return Var<T>(detail::apply_one(operation.release(), nodes.data(), nodes.size()));
}

template <class T>
std::vector<Var<T>> apply_all(std::unique_ptr<Operation<T>> operation, std::span<const Var<T>> inputs) {
  std::vector<detail::Node*> nodes;
  for (const Var<T>& input : inputs) nodes.push_back(input.node());
  std::vector<Var<T>> out;
  for (detail::NodeRef& node : detail::apply_all(operation.release(), nodes.data(), nodes.size()))
    out.emplace_back(std::move(node));
  return out;
}

template class Operation<float>;
template class Operation<double>;
template Var<float> apply(std::unique_ptr<Operation<float>>, std::span<const Var<float>>);
template Var<double> apply(std::unique_ptr<Operation<double>>, std::span<const Var<double>>);
template std::vector<Var<float>> apply_all(std::unique_ptr<Operation<float>>, std::span<const Var<float>>);
template std::vector<Var<double>> apply_all(std::unique_ptr<Operation<double>>, std::span<const Var<double>>);

}  // namespace tapestry
