#pragma once

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/clique_tree.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// Exact inference by junction tree. log_partition's gradient is the factors' marginals; the marginals' own gradients
/// (covariances in a direction) come from sixth-order central differences of marginals in that direction, to about ten
/// digits; derivatives beyond these throw GraphError.
struct JunctionTree {
  static constexpr const char* name = "junction tree";
  EliminationOptions order = {};
  double memory_limit = 4294967296.0;  ///< bytes
  bool factor_marginals = true;
  /// Find the most probable assignment too (max-product).
  bool maximum = false;
};

/// @throws NumericalError with width and memory where the tables need more than the limit
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const JunctionTree& options);

extern template InferenceResult<float> infer(const FactorGraph<float>&, const JunctionTree&);
extern template InferenceResult<double> infer(const FactorGraph<double>&, const JunctionTree&);

}  // namespace tapestry
