#pragma once

#include <functional>
#include <string>
#include <vector>

#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/dense_tables.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry::detail {

/// Gradients of what a method found: of the log-partition as far as marginals depend on the tables, of the variables'
/// marginals (in the order of states) and of the factors' (over their written-out tables).
struct PlainGradients {
  double partition = 0;
  std::vector<double> variables, factors;
};

/// What a method that works on plain tables, one batch element at a time, gives.
struct PlainResult {
  double log_partition = 0;
  std::vector<double> variables;                     ///< marginals, in the order of states
  std::vector<double> errors;                        ///< their standard errors, or empty
  std::vector<double> effective;                     ///< and effective sample sizes, with errors
  std::function<void(std::size_t, double*)> factor;  ///< writes a factor's marginal over its written-out table
  std::vector<std::int64_t> assignment;
  bool converged = true;
  /// Adds the gradient of all written-out tables. Null where marginals are constants.
  std::function<void(const PlainGradients&, const DenseTables& tables, std::vector<double>& out)> backward = nullptr;
};
using PlainMethod = std::function<PlainResult(const DenseTables& tables, const GraphStructure& graph,
                                              InferenceTrace* trace, std::uint64_t batch)>;

/// What gradients pass through.
enum class PlainGradient {
  none,
  partition,  ///< the log-partition, by the factors' marginals as where the method has converged
  all         ///< marginals too
};

/// Runs the method for each batch element and puts the results on the tape. A program of it can be saved where
/// `attributes` writes what the method is made of.
template <class T>
InferenceResult<T> infer_plainly(const FactorGraph<T>& graph, std::string name, BoundKind kind, PlainGradient gradient,
                                 PlainMethod method, std::function<void(Attributes&)> attributes = nullptr);

}  // namespace tapestry::detail
