#pragma once

#include <memory>
#include <span>
#include <vector>

#include <tapestry/autodiff/gradient.hpp>
#include <tapestry/graph/program/executable.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/graph/program/update.hpp>

namespace tapestry {

template <class T>
struct Program<T>::State {
  std::unique_ptr<detail::Executable> forward, backward, training;
  std::vector<detail::ValueId> wanted;  // of the captured graph: variables, then inputs
  std::vector<detail::NodeRef> variables;
  std::vector<std::size_t> input_gradient;  // place in `gradients`, or nowhere
  std::vector<detail::StorageRef> gradients;
  std::vector<detail::RowsGradient> backward_rows, training_rows;
  std::vector<detail::RowsPiece> pieces;  // what those become, one after the other
  detail::Executable* latest = nullptr;
  std::shared_ptr<detail::UpdateRun<T>> updates;  // where an optimiser is attached
  std::vector<char> updated;                      // of `wanted`: by the optimiser, in `training`
  ProgramReport report;
  detail::ProgramGraph source;  // what was captured, without gradients, before fusion

  void build(detail::ProgramGraph graph);
  void attach(ParameterUpdate<T>& rule);
  void train(std::span<const Var<T>> inputs);
  void run_backward(std::span<const Var<T>> inputs);
  /// Runs it; `left_out` says of which of `wanted` the gradients are not asked for.
  void run_gradients(detail::Executable& executable, std::span<const Var<T>> inputs,
                     const std::vector<detail::RowsGradient>& rows, const std::vector<char>& left_out);
  void bind(detail::Executable& executable, std::span<const Var<T>> inputs) const;
};

namespace detail {

/// A program's graph ready for its memory plan: with the gradients of output 0 as further outputs.
struct Differentiated {
  ProgramGraph graph;
  std::vector<ValueId> gradients;  ///< of each wanted value, or no_value
  std::vector<RowsGradient> rows;  ///< those by rows
  std::size_t outputs = 0;         ///< of the program itself
};
Differentiated differentiate(ProgramGraph graph, const std::vector<ValueId>& wanted);
ProgramReport::Part part_of(const Executable& executable);

}  // namespace detail
}  // namespace tapestry
