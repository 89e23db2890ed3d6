#pragma once

#include <functional>
#include <vector>

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/dense_tables.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry::detail {

/// What a method that works on plain tables, one batch element at a time, gives.
struct PlainResult {
  double log_partition = 0;
  std::vector<double> variables;                          ///< marginals, in the order of states
  std::vector<double> errors;                             ///< their standard errors, or empty
  std::vector<double> effective;                          ///< and effective sample sizes, with errors
  std::function<void(std::size_t, double*)> factor = {};  ///< writes a factor's marginal over its written-out table
  std::vector<std::int64_t> assignment;                   ///< or empty
  bool converged = true;
};
using PlainMethod = std::function<PlainResult(const DenseTables& tables, const GraphStructure& graph,
                                              InferenceTrace* trace, std::uint64_t batch)>;

/// Runs the method for each batch element and puts the results on the tape: the log-partition with the factors'
/// marginals as its gradient if `differentiable`, all else as constants.
template <class T>
InferenceResult<T> infer_plainly(const FactorGraph<T>& graph, std::string_view name, BoundKind kind,
                                 bool differentiable, const PlainMethod& method);

}  // namespace tapestry::detail
