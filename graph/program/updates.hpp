#pragma once

#include <memory>
#include <vector>

#include <tapestry/graph/program/graph.hpp>
#include <tapestry/graph/program/update.hpp>

namespace tapestry::detail {

/// Which variables of a program are updated, from which gradients.
struct UpdatePlan {
  std::vector<ValueId> variables, gradients;  ///< a gradient for each variable, or no_value
  std::vector<RowsGradient> rows;             ///< those of variables without one there
  std::vector<std::size_t> parameters;        ///< the rule's number for each variable, or `nobody`
  static constexpr std::size_t nobody = ~std::size_t{0};
};

/// Adds the updates to a program's steps, each as early as its gradient is there and the variable is read no more. The
/// gradients of what is updated are outputs of the program no longer.
template <class T>
void insert_updates(ProgramGraph& graph, const UpdatePlan& plan, const std::shared_ptr<UpdateRun<T>>& run);

}  // namespace tapestry::detail
