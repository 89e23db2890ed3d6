#include <tapestry/autodiff/sweep.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>

#include <tapestry/autodiff/bundle.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry::detail {
namespace {

std::atomic<std::uint32_t> next_mark{1};

template <class T>
NodeRef add_typed(NodeRef a, NodeRef b) {
  return (Var<T>(std::move(a)) + Var<T>(std::move(b))).reference();
}

NodeRef add_nodes(NodeRef a, NodeRef b) {
  return a->dtype == DType::float32 ? add_typed<float>(std::move(a), std::move(b))
                                    : add_typed<double>(std::move(a), std::move(b));
}

template <class T>
bool all_finite(const Storage& storage) {
  return kernels<ElementwiseKernels<T>>().all_finite(static_cast<const T*>(storage.data), storage.bytes / sizeof(T));
}

}  // namespace

void add_planned(PlannedGradient& place, const Node* node, const void* gradient) {
  if (std::exchange(place.written, true))
    accumulate(node->dtype, place.data, gradient, node->elements());
  else
    std::memcpy(place.data, gradient, node->bytes());
}

Sweep::~Sweep() {
  while (position_ != nullptr) {
    if (pending(position_)) drop_pending(position_);
    step_back();
  }
  for (Node* target : targets_) target->is_target = false;
}

// The position is held, so that it survives whatever the operations around it free.
void Sweep::step_back() noexcept {
  Node* here = position_;
  position_ = outstanding_ > 0 ? here->previous : nullptr;
  if (position_ != nullptr) retain(position_, Node::edge_reference);
  release(here, Node::edge_reference);
}

void Sweep::drop_pending(Node* node) noexcept {
  node->pending = StorageRef();
  if (node->pending_variable != nullptr)
    release(std::exchange(node->pending_variable, nullptr), Node::handle_reference);
  clear_bundle(node);
  --outstanding_;
  release(node, Node::edge_reference);
}

void Sweep::clear_bundle(Node* node) noexcept {
  if (node->bundle == nullptr) return;
  node->bundle->pending = false;
  for (auto& slot : node->bundle->slots) slot.pending = StorageRef(), slot.pending_variable = NodeRef();
}

bool Sweep::pending(const Node* node) const noexcept {
  return node->pending || node->pending_variable != nullptr || (node->bundle != nullptr && node->bundle->pending);
}

Sweep::LeafEntry& Sweep::leaf_entry(Node* node) {
  if (last_leaf_ < leaves_.size() && leaves_[last_leaf_].node == node) return leaves_[last_leaf_];
  const auto [entry, added] = leaf_index_.try_emplace(node, leaves_.size());
  if (added) leaves_.push_back({node, NodeRef::share(node), {}, {}, {}});
  last_leaf_ = entry->second;
  return leaves_[last_leaf_];
}

void Sweep::set_targets(std::span<Node* const> roots, std::span<Node* const> targets) {
  restricted_ = true;
  const std::uint32_t reached = next_mark.fetch_add(2);
  needed_mark_ = reached + 1;
  for (Node* target : targets) {
    if (options_.stop_at_targets || boundary(target))
      leaf_entry(target);
    else if (!target->is_target)
      target->is_target = true, targets_.push_back(target);
  }
  Node* start = nullptr;
  std::int64_t waiting = 0;
  const auto reach = [&](Node* node) {
    if (boundary(node) || node->mark == reached) return;
    node->mark = reached;
    ++waiting;
  };
  for (Node* root : roots) {
    reach(root);
    if (!boundary(root) && (start == nullptr || root->sequence > start->sequence)) start = root;
  }
  std::vector<Node*> order;
  for (Node* node = start; node != nullptr && waiting > 0; node = node->previous) {
    if (node->mark != reached) continue;
    --waiting;
    order.push_back(node);
    if (node->graph_freed) continue;
    for (std::size_t i = 0; i < node->input_count; ++i)
      if (node->inputs[i].node->requires_grad) reach(node->inputs[i].node);
  }
  for (auto node = order.rbegin(); node != order.rend(); ++node) {
    bool needed = (*node)->is_target;
    if (!(*node)->graph_freed)
      for (std::size_t i = 0; i < (*node)->input_count && !needed; ++i) needed = wants((*node)->inputs[i].node);
    if (needed) (*node)->mark = needed_mark_;
  }
}

bool Sweep::wants(const Node* input) const noexcept {
  if (!input->requires_grad) return false;
  if (!restricted_) return true;
  return boundary(input) ? leaf_index_.contains(input) : input->mark == needed_mark_;
}

void Sweep::await(Node* node) {
  if (pending(node)) return;
  ++outstanding_;
  retain(node, Node::edge_reference);
}

StorageRef& Sweep::slot(Node* input) {
  if (boundary(input)) return leaf_entry(input).dense;
  await(input);
  spread_uniform(input->dtype, input->elements(), input->pending);
  return input->pending;
}

bool Sweep::untouched(Node* input) {
  if (!boundary(input)) return !pending(input);
  const LeafEntry& entry = leaf_entry(input);
  return !entry.dense && entry.rows.empty();
}

void Sweep::add_uniform(Node* input, StorageRef element) {
  element->uniform = true;
  if (boundary(input) || pending(input)) return add(input, std::move(element));
  await(input);
  input->pending = std::move(element);
}

void Sweep::add(Node* input, StorageRef gradient) {
  spread_uniform(input->dtype, input->elements(), gradient);
  StorageRef& place = slot(input);
  if (!place) {
    place = std::move(gradient);
    return;
  }
  if (!place.unique()) place = copy_storage(*place.get());
  accumulate(input->dtype, place->data, gradient->data, input->elements());
}

void Sweep::add_variable(Node* input, NodeRef gradient) {
  if (boundary(input)) {
    NodeRef& place = leaf_entry(input).variable;
    place = place ? add_nodes(std::move(place), std::move(gradient)) : std::move(gradient);
    return;
  }
  await(input);
  if (input->pending_variable == nullptr) {
    input->pending_variable = gradient.take();
    return;
  }
  input->pending_variable = add_nodes(NodeRef(input->pending_variable), std::move(gradient)).take();
}

void Sweep::add_rows(Node* input, RowsPiece piece) {
  if (boundary(input)) {
    leaf_entry(input).rows.push_back(std::move(piece));
    return;
  }
  StorageRef& place = slot(input);
  if (!place)
    place = zero_storage(input->bytes());
  else if (!place.unique())
    place = copy_storage(*place.get());
  scatter_rows(input->dtype, place->data, input->shape, piece);
}

void Sweep::seed(Node* root, const NodeRef& gradient) {
  if (!boundary(root) && (position_ == nullptr || root->sequence > position_->sequence)) {
    retain(root, Node::edge_reference);
    if (position_ != nullptr) release(position_, Node::edge_reference);
    position_ = root;
  }
  if (options_.create_graph)
    add_variable(root, gradient);
  else
    add(root, StorageRef::share(gradient->value));
}

void Sweep::run() {
  while (position_ != nullptr) {
    if (pending(position_)) process(position_);
    step_back();
  }
}

void Sweep::process(Node* node) {
  struct Done {
    Sweep& sweep;
    Node* node;
    ~Done() { sweep.drop_pending(node); }
  } done{*this, node};
  if (node->is_target || node->gradient != nullptr || !node->operation || !node->operation->takes_uniform_gradient())
    spread_uniform(node->dtype, node->elements(), node->pending);
  keep_result(node);
  if (restricted_ && !node->graph_freed &&
      std::none_of(node->inputs, node->inputs + node->input_count, [&](const Edge& edge) { return wants(edge.node); }))
    return;
  if (node->graph_freed)
    fail<GraphError>("backward", "the graph of a result of shape ", node->shape,
                     " was freed by an earlier backward pass; ask for retain_graph there");
  if (node->operation == output_operation()) {
    deliver_output(node);
  } else {
    check_versions(node);
    const Observed observed(*node->operation, node);
    if (options_.create_graph) {
      VjpState state{this, node, NodeRef(std::exchange(node->pending_variable, nullptr))};
      node->operation->run_vjp(state);
    } else {
      BackwardState state{*this, node, std::move(node->pending)};
      node->operation->run_backward(state);
    }
    if (anomaly_detection()) check_finite(node);
  }
  if (!options_.retain_graph && !options_.create_graph) free_graph(node);
}

void Sweep::deliver_output(Node* node) {
  Node* input = node->inputs[0].node;
  await(input);
  input->bundle->pending = true;
  Bundle::Slot& slot = input->bundle->slots[node->output_index];
  if (options_.create_graph) {
    NodeRef gradient(std::exchange(node->pending_variable, nullptr));
    slot.pending_variable =
        slot.pending_variable ? add_nodes(std::move(slot.pending_variable), std::move(gradient)) : std::move(gradient);
    return;
  }
  StorageRef gradient = std::exchange(node->pending, StorageRef());
  if (!slot.pending) {
    slot.pending = std::move(gradient);
    return;
  }
  if (!slot.pending.unique()) slot.pending = copy_storage(*slot.pending.get());
  accumulate(node->dtype, slot.pending->data, gradient->data, node->elements());
}

void Sweep::keep_result(Node* node) {
  if (node->is_target) {
    LeafEntry entry{node, {}, node->pending, {}, {}};
    if (node->pending_variable != nullptr) entry.variable = NodeRef::share(node->pending_variable);
    results_.insert_or_assign(node, std::move(entry));
  }
  if (node->gradient != nullptr && !restricted_ && node->pending) {
    LeafEntry& entry = leaf_entry(node);
    entry.dense = node->pending;
  }
}

void Sweep::check_versions(const Node* node) const {
  const auto changed = [&](std::string_view what) {
    fail<GraphError>(node->operation->name(), what, " of shape ", node->shape,
                     " was changed in place after it was recorded, and its gradient needs the old value",
                     node->scope != 0 ? " (in " + scope_name(node->scope) + ")" : "");
  };
  for (std::size_t i = 0; i < node->input_count; ++i) {
    const Edge& edge = node->inputs[i];
    if (edge.needed && edge.node->value != nullptr && edge.node->value->version != edge.version) changed("an input");
  }
  if (node->output_needed && node->value != nullptr && node->value->version != node->version) changed("the output");
}

void Sweep::check_finite(const Node* node) const {
  if (options_.create_graph) return;  // recorded gradients are checked as they are recorded
  for (std::size_t i = 0; i < node->input_count; ++i) {
    Node* input = node->inputs[i].node;
    if (!wants(input)) continue;
    const auto leaf = boundary(input) ? leaf_index_.find(input) : leaf_index_.end();
    if (boundary(input) && leaf == leaf_index_.end()) continue;
    const StorageRef& gradient = boundary(input) ? leaves_[leaf->second].dense : input->pending;
    if (!gradient) continue;
    const bool finite =
        input->dtype == DType::float32 ? all_finite<float>(*gradient.get()) : all_finite<double>(*gradient.get());
    if (!finite)
      fail<NumericalError>(node->operation->name(), "the gradient of input ", i, " of shape ", input->shape,
                           " is not finite", node->scope != 0 ? " (in " + scope_name(node->scope) + ")" : "");
  }
}

void Sweep::commit() {
  for (LeafEntry& entry : leaves_) {
    if (entry.node->gradient == nullptr) continue;
    if (entry.dense) add_to_gradient(*entry.node, std::move(entry.dense));
    for (RowsPiece& piece : entry.rows) add_to_gradient(*entry.node, std::move(piece));
  }
}

NodeRef Sweep::result(Node* target) {
  LeafEntry* entry = nullptr;
  if (boundary(target)) {
    entry = &leaf_entry(target);
  } else if (const auto found = results_.find(target); found != results_.end()) {
    entry = &found->second;
  }
  if (entry == nullptr) return {};
  NodeRef variable = entry->variable;
  if (!entry->rows.empty()) {
    entry->dense = entry->dense ? copy_storage(*entry->dense.get()) : zero_storage(target->bytes());
    for (const RowsPiece& piece : entry->rows) scatter_rows(target->dtype, entry->dense->data, target->shape, piece);
    entry->rows.clear();
  }
  if (!entry->dense) return variable;
  return make_leaf(target->dtype, target->shape, entry->dense, false);
}

std::vector<NodeRef> gradients(std::span<Node* const> roots, std::span<const NodeRef> seeds,
                               std::span<Node* const> targets, SweepOptions options) {
  Tape* tape = nullptr;
  for (const Node* root : roots)
    if (root->recorded && (tape == nullptr || root->tape == &Tape::current())) tape = root->tape;
  std::vector<NodeRef> results;
  options.create_graph |= capturing();
  Sweep sweep(tape, options);
  sweep.set_targets(roots, targets);
  for (std::size_t i = 0; i < roots.size(); ++i)
    if (sweep.wants(roots[i])) sweep.seed(roots[i], seeds[i]);
  sweep.run();
  for (Node* target : targets) results.push_back(sweep.result(target));
  return results;
}

}  // namespace tapestry::detail
