#include <algorithm>
#include <unordered_map>

#include <tapestry/autodiff/bundle.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry::detail {
namespace {

template <class T>
Var<T> var(const NodeRef& node) {
  return Var<T>(node);
}

template <class T>
NodeRef zeros_like(const Node* node) {
  return Var<T>::zeros(node->shape).reference();
}

std::vector<NodeRef> reapply(Node* node, std::span<Node* const> inputs) {
  retain_operation(node->operation);
  if (node->bundle == nullptr) return {apply_one(node->operation, inputs.data(), inputs.size())};
  return apply_all(node->operation, inputs.data(), inputs.size());
}

void add_to(std::vector<NodeRef>& sums, std::vector<NodeRef> terms, DType type) {
  if (sums.empty()) {
    sums = std::move(terms);
    return;
  }
  for (std::size_t i = 0; i < sums.size(); ++i)
    sums[i] = type == DType::float32 ? (var<float>(sums[i]) + var<float>(terms[i])).reference()
                                     : (var<double>(sums[i]) + var<double>(terms[i])).reference();
}

// The derivative of a (multi)linear operation is the operation itself.
template <class T>
std::vector<NodeRef> linear_rule(Node* node, std::span<const NodeRef> tangents) {
  const std::size_t n = node->input_count;
  std::vector<NodeRef> held(n);
  std::vector<Node*> inputs(n);
  std::vector<NodeRef> sums;
  if (node->operation->linearity() == Linearity::linear) {
    for (std::size_t i = 0; i < n; ++i) {
      held[i] = tangents[i] ? tangents[i] : zeros_like<T>(node->inputs[i].node);
      inputs[i] = held[i].get();
    }
    return reapply(node, inputs);
  }
  for (std::size_t k = 0; k < n; ++k) {
    if (!tangents[k]) continue;
    for (std::size_t i = 0; i < n; ++i) inputs[i] = i == k ? tangents[k].get() : node->inputs[i].node;
    add_to(sums, reapply(node, inputs), node->dtype);
  }
  return sums;
}

// A diagonal Jacobian is its own transpose: the vjp() rule applied to the tangent.
template <class T>
std::vector<NodeRef> elementwise_rule(Node* node, std::span<const NodeRef> tangents) {
  NodeRef sum;
  std::vector<NodeRef> collected(node->input_count);
  for (std::size_t i = 0; i < tangents.size(); ++i) {
    if (!tangents[i]) continue;
    VjpState state{nullptr, node, broadcast_to(var<T>(tangents[i]), node->shape).reference(), collected.data(),
                   static_cast<int>(i)};
    node->operation->run_vjp(state);
    if (!collected[i]) continue;
    sum = sum ? (var<T>(sum) + var<T>(collected[i])).reference() : collected[i];
  }
  if (sum && sum->shape != node->shape) sum = broadcast_to(var<T>(sum), node->shape).reference();
  return {sum};
}

// The vjp() rule is linear in the output's gradient u: transposing it once more gives the Jacobian itself.
template <class T>
std::vector<NodeRef> transposed_rule(Node* node, std::span<const NodeRef> tangents) {
  const EnableGradients on;
  std::vector<NodeRef> u;
  std::vector<NodeRef> collected(node->input_count);
  VjpState state{nullptr, node, {}, collected.data()};
  if (node->bundle == nullptr) {
    u.push_back(Var<T>::filled(node->shape, T(0), true).reference());
    state.gradient = u[0];
  } else {
    for (const auto& slot : node->bundle->slots) u.push_back(Var<T>::filled(slot.shape, T(0), true).reference());
    state.gradients = u;
  }
  node->operation->run_vjp(state);
  Var<T> product;
  for (std::size_t i = 0; i < tangents.size(); ++i) {
    if (!tangents[i] || !collected[i] || !collected[i]->requires_grad) continue;
    const Var<T> term = sum(var<T>(collected[i]) * var<T>(tangents[i]));
    product = product.defined() ? product + term : term;
  }
  std::vector<NodeRef> out(u.size());
  if (!product.defined()) return out;
  std::vector<Node*> targets;
  for (const NodeRef& node_ref : u) targets.push_back(node_ref.get());
  Node* root = product.node();
  const NodeRef one = Var<T>::ones(product.shape()).reference();
  return gradients({&root, 1}, {&one, 1}, targets, {.retain_graph = true, .create_graph = true});
}

template <class T>
std::vector<NodeRef> output_tangents(Node* node, std::span<const NodeRef> tangents) {
  JvpState state{node, tangents};
  std::vector<NodeRef> given = node->operation->run_jvp(state);
  if (!given.empty()) return given;
  switch (node->operation->linearity()) {
    case Linearity::linear:
    case Linearity::multilinear:
      return linear_rule<T>(node, tangents);
    case Linearity::elementwise:
      return elementwise_rule<T>(node, tangents);
    case Linearity::general:
      break;
  }
  return transposed_rule<T>(node, tangents);
}

}  // namespace

std::vector<NodeRef> tangents(std::span<Node* const> outputs, std::span<Node* const> inputs,
                              std::span<const NodeRef> input_tangents) {
  std::unordered_map<const Node*, std::vector<NodeRef>> known;  // one tangent, or one for each output of a bundle
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (input_tangents[i]) known[inputs[i]] = {input_tangents[i]};

  // What the outputs depend on, latest first.
  std::vector<Node*> order;
  std::unordered_map<const Node*, bool> reached;
  std::vector<Node*> stack(outputs.begin(), outputs.end());
  while (!stack.empty()) {
    Node* node = stack.back();
    stack.pop_back();
    if (!node->recorded || !reached.try_emplace(node, true).second) continue;
    if (node->graph_freed)
      fail<GraphError>("jvp", "the graph of a result of shape ", node->shape, " was freed by a backward pass");
    order.push_back(node);
    for (std::size_t i = 0; i < node->input_count; ++i) stack.push_back(node->inputs[i].node);
  }
  std::sort(order.begin(), order.end(), [](const Node* a, const Node* b) { return a->sequence < b->sequence; });

  for (Node* node : order) {
    if (known.contains(node)) continue;
    if (node->operation == output_operation()) {
      const auto bundle = known.find(node->inputs[0].node);
      if (bundle != known.end() && bundle->second[node->output_index])
        known[node] = {bundle->second[node->output_index]};
      continue;
    }
    std::vector<NodeRef> given(node->input_count);
    bool any = false;
    for (std::size_t i = 0; i < node->input_count; ++i) {
      const auto found = known.find(node->inputs[i].node);
      if (found == known.end()) continue;
      given[i] = found->second[0];
      any |= static_cast<bool>(given[i]);
    }
    if (!any) continue;
    auto result =
        node->dtype == DType::float32 ? output_tangents<float>(node, given) : output_tangents<double>(node, given);
    if (node->bundle == nullptr && !result[0]) continue;
    known[node] = std::move(result);
  }

  std::vector<NodeRef> out;
  for (const Node* output : outputs) {
    const auto found = known.find(output);
    out.push_back(found == known.end() ? NodeRef() : found->second[0]);
  }
  return out;
}

}  // namespace tapestry::detail
