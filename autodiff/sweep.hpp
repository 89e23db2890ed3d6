#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include <tapestry/autodiff/gradient.hpp>
#include <tapestry/autodiff/node.hpp>
#include <tapestry/autodiff/operation.hpp>

namespace tapestry::detail {

struct SweepOptions {
  bool retain_graph = false;
  bool create_graph = false;
  /// Take the targets for leaves, whatever they were computed from. The sweep then leaves no trace in them: another one
  /// may be under way that passes through them.
  bool stop_at_targets = false;
};

/// One walk backwards over a tape. Gradients of recorded nodes wait in the nodes; those of the boundary (leaves, and
/// for a nested tape the variables of others) wait in a table of the sweep, so that threads may share leaves and a
/// failing sweep changes nothing.
class Sweep {
 public:
  Sweep(Tape* tape, SweepOptions options) : tape_(tape), options_(options) {}
  ~Sweep();
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;

  bool create_graph() const noexcept { return options_.create_graph; }

  /// Restricts the sweep to what lies between the roots and these targets.
  void set_targets(std::span<Node* const> roots, std::span<Node* const> targets);
  /// Puts a gradient on a root.
  void seed(Node* root, const NodeRef& gradient);
  /// Walks from the last of the roots back.
  void run();
  /// Adds what was collected for leaves to their gradients.
  void commit();
  /// The gradient that reached a target: a node without a graph unless create_graph; null if none did.
  NodeRef result(Node* target);

  bool wants(const Node* input) const noexcept;
  StorageRef& slot(Node* input);
  /// Whether nothing was added to a gradient yet.
  bool untouched(Node* input);
  void add(Node* input, StorageRef gradient);
  /// A gradient whose elements are all the same: it stays one element until an operation asks for an array.
  void add_uniform(Node* input, StorageRef element);
  /// Whether this is the last walk over the graph, so that what operations keep for it may be used up.
  bool frees_graph() const noexcept { return !options_.retain_graph && !options_.create_graph; }
  void add_variable(Node* input, NodeRef gradient);
  void add_rows(Node* input, RowsPiece piece);

 private:
  struct LeafEntry {
    Node* node;
    NodeRef alive;  // the sweep may free the last operation that holds the leaf
    StorageRef dense;
    NodeRef variable;
    std::vector<RowsPiece> rows;
  };

  bool boundary(const Node* node) const noexcept {
    return !node->recorded || node->tape != tape_ || (options_.stop_at_targets && leaf_index_.contains(node));
  }
  bool pending(const Node* node) const noexcept;
  /// Notes that a recorded node gets a gradient, and keeps it alive until its turn.
  void await(Node* node);
  static void clear_bundle(Node* node) noexcept;
  void drop_pending(Node* node) noexcept;
  void step_back() noexcept;
  LeafEntry& leaf_entry(Node* node);
  void process(Node* node);
  void check_versions(const Node* node) const;
  void check_finite(const Node* node) const;
  void deliver_output(Node* node);
  void keep_result(Node* node);

  Tape* tape_;
  SweepOptions options_;
  bool restricted_ = false;
  std::uint32_t needed_mark_ = 0;
  std::int64_t outstanding_ = 0;
  Node* position_ = nullptr;
  std::vector<LeafEntry> leaves_;
  std::size_t last_leaf_ = 0;
  std::unordered_map<const Node*, std::size_t> leaf_index_;
  std::unordered_map<const Node*, LeafEntry> results_;
  std::vector<Node*> targets_;
};

/// Gradients of sum_k <roots[k], seeds[k]> with respect to the targets (null where none reaches one).
std::vector<NodeRef> gradients(std::span<Node* const> roots, std::span<const NodeRef> seeds,
                               std::span<Node* const> targets, SweepOptions options);

/// Memory that a captured program has set aside for an input's gradient.
struct PlannedGradient {
  void* data = nullptr;  ///< null where the gradient is not asked for
  bool written = false;  ///< holds something that is to be added to
};

/// Writes or adds a whole gradient, which has the node's type and size.
void add_planned(PlannedGradient& place, const Node* node, const void* gradient);

struct BackwardState {
  Sweep& sweep;
  Node* node;
  StorageRef gradient;                        ///< may be uniform where the operation takes that
  PlannedGradient* const* planned = nullptr;  ///< one for each input, instead of the sweep
};

/// Where vjp() delivers: to a sweep, or for forward mode to an array with a place for each input.
struct VjpState {
  Sweep* sweep;
  Node* node;
  NodeRef gradient;  ///< of the output; for several outputs see `gradients`
  NodeRef* collected = nullptr;
  int only = -1;  ///< the one input that is asked for, unreduced (diagonal Jacobians)
  std::span<const NodeRef> gradients = {};
};

struct JvpState {
  Node* node;
  std::span<const NodeRef> tangents;
};

/// The tangents of `outputs` along the given tangents of `inputs` (null where there is none), by the operations' jvp()
/// rules in the order of the tape.
std::vector<NodeRef> tangents(std::span<Node* const> outputs, std::span<Node* const> inputs,
                              std::span<const NodeRef> input_tangents);

/// Whether input bits of Needs ask for input i.
inline bool needs_input(std::uint32_t needs, std::size_t i) noexcept {
  return (needs & Needs::input(static_cast<int>(i))) != 0;
}

/// The operation of the nodes that stand for one output of a bundle.
OperationBase* output_operation();
/// A new node for output i of a bundle node (whose value it shares).
NodeRef bundle_output(Node* bundle, int i);

}  // namespace tapestry::detail
