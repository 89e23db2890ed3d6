#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include <tapestry/autodiff/observer.hpp>
#include <tapestry/graph/program/graph.hpp>

namespace tapestry::detail {

/// Turns what a function evaluates into a program's graph.
class Recorder final : public Observer {
 public:
  explicit Recorder(DType dtype) { graph_.dtype = dtype; }

  void add_input(NodeRef node);
  /// The graph with these results. Call it when the function's own variables are gone: a leaf that only the recorder
  /// holds is a constant.
  ProgramGraph finish(std::vector<NodeRef> results, std::vector<Indices> positions);

  bool capturing() const override { return true; }
  void applied(OperationBase& operation, Node* const* inputs, std::size_t count, Node* result) override;
  void unbundled(const Node* bundle, int i, Node* output) override;
  void renamed(const Node* from, Node* to) override;
  void touched(const Node* node) override;

 private:
  ValueId find(Node* node);
  ValueId enter(Node* node, const ProgramValue& value);

  ProgramGraph graph_;
  std::unordered_map<const Node*, ValueId> ids_;
  std::unordered_map<const Node*, std::vector<ValueId>> bundles_;
  std::vector<NodeRef> held_;  // so that no address is used again
};

}  // namespace tapestry::detail
