#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/autodiff/storage.hpp>
#include <tapestry/graph/program/graph.hpp>
#include <tapestry/graph/program/memory_plan.hpp>

namespace tapestry::detail {

/// A program's graph bound to memory.
class Executable {
 public:
  /// @param apart values whose memory is given at each run
  Executable(ProgramGraph graph, std::vector<ValueId> apart);

  /// Says where an input is for the next run, or one of the values apart.
  void set_input(std::size_t i, const void* data) { external_[i] = const_cast<void*>(data); }
  void set_apart(std::size_t k, void* data) { external_[apart_begin_ + k] = data; }
  /// Whether set_apart() says where a value is computed; if not, it is to be copied from data().
  bool is_apart(std::size_t k) const { return plan_.apart[apart_[k]] == k; }
  void run();

  const ProgramGraph& graph() const { return graph_; }
  const std::vector<ValueId>& apart() const { return apart_; }
  const MemoryPlan& plan() const { return plan_; }
  const StorageRef& arena() const { return arena_; }
  /// Where a value was in the last run.
  const void* data(ValueId id) const;

 private:
  struct Step {
    OperationBase* operation;
    std::uint32_t scope;
    std::uint32_t input, inputs, output, outputs;  // ranges in the lists of pointers
  };
  struct External {
    std::uint32_t at, source;
  };
  void resolve(std::vector<void*>& pointers, std::vector<External>& externals, ValueId id);
  std::uint32_t external_index(ValueId root) const;

  ProgramGraph graph_;
  std::vector<ValueId> apart_;
  MemoryPlan plan_;
  StorageRef arena_;
  std::vector<Step> steps_;
  std::vector<void*> inputs_, outputs_;
  std::vector<const Shape*> input_shapes_, output_shapes_;
  std::vector<External> external_inputs_, external_outputs_;
  std::vector<ValueId> variables_;
  std::vector<std::uint32_t> external_of_;  // by value
  std::vector<void*> external_;             // inputs, values apart, variables
  std::size_t apart_begin_ = 0;
};

}  // namespace tapestry::detail
