#include <tapestry/autodiff/node.hpp>

#include <tapestry/autodiff/bundle.hpp>
#include <tapestry/autodiff/gradient.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry::detail {
namespace {

std::size_t inputs_bytes(std::size_t n) {
  return n * sizeof(Edge);
}

void release_value(Node* node) noexcept {
  if (node->value != nullptr) release_storage(std::exchange(node->value, nullptr));
}

// Takes references away, and the value with the last of those that may read it. @return whether no references are left
bool drop_references(Node* node, std::uint64_t references) noexcept {
  if (begin_alone()) {
    const std::uint64_t left = node->references.load(std::memory_order_relaxed) - references;
    node->references.store(left, std::memory_order_relaxed);
    const bool dead = static_cast<std::uint32_t>(left) == 0;
    Storage* const value = !dead && left < Node::value_reference ? std::exchange(node->value, nullptr) : nullptr;
    end_alone();
    if (value != nullptr) release_storage(value);
    return dead;
  }
  // Another thread may free the node as soon as this one's reference is gone: the value goes before.
  const std::uint64_t readers = references & ~(Node::value_reference - 1);
  if (readers != 0 && count_add_shared(node->references, ~readers + 1) < Node::value_reference) release_value(node);
  if (readers == references) return false;
  return static_cast<std::uint32_t>(count_add_shared(node->references, ~(references - readers) + 1)) == 0;
}

// Nodes whose last reference went, chained through `next` once they are off their tape.
class Graveyard {
 public:
  void drop(Node* node, std::uint64_t references) noexcept {
    if (drop_references(node, references)) add(node);
  }

  void add(Node* node) noexcept {
    if (node->recorded) TapeAccess::unlink(node);
    node->next = dead_;
    dead_ = node;
  }

  void drop_inputs(Node* node) noexcept {
    Edge* inputs = std::exchange(node->inputs, nullptr);
    if (inputs == nullptr) return;
    for (std::size_t i = 0; i < node->input_count; ++i)
      drop(inputs[i].node, inputs[i].needed ? Node::handle_reference : Node::edge_reference);
    pool_deallocate(inputs, inputs_bytes(node->input_count));
  }

  void bury() noexcept {
    while (dead_ != nullptr) {
      Node* node = dead_;
      dead_ = node->next;
      drop_inputs(node);
      release_value(node);
      if (node->operation != nullptr) release_operation(node->operation);
      if (node->pending_variable != nullptr) drop(node->pending_variable, Node::handle_reference);
      delete node->gradient;
      delete node->bundle;
      node->~Node();
      pool_deallocate(node, sizeof(Node));
    }
  }

 private:
  Node* dead_ = nullptr;
};

}  // namespace

void Node::throw_no_value() const {
  fail<GraphError>(operation != nullptr ? operation->name() : "variable",
                   cleared ? "its tape was cleared" : "its value was not kept (operation's needs() leaves it out)");
}

Node* new_node(DType dtype, const Shape& shape) {
  Node* node = ::new (pool_allocate(sizeof(Node))) Node;
  node->dtype = dtype;
  node->shape = shape;
  return node;
}

void release(Node* node, std::uint64_t references) noexcept {
  if (!drop_references(node, references)) return;
  Graveyard graveyard;
  graveyard.add(node);
  graveyard.bury();
}

void free_graph(Node* node) noexcept {
  Graveyard graveyard;
  graveyard.drop_inputs(node);
  if (node->operation != nullptr) release_operation(std::exchange(node->operation, nullptr));
  if (node->output_needed) {
    node->output_needed = false;
    drop_references(node, Node::value_reference);
  }
  node->graph_freed = true;
  graveyard.bury();
}

}  // namespace tapestry::detail
