#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// Mean field by coordinate ascent: a lower bound on the log-partition that no iteration lowers. The bound's gradient
/// is the factors' expected statistics (exact where the ascent has converged); marginals are constants.

/// One variable at a time.
struct MeanField {
  std::int64_t iterations = 500;
  double tolerance = 1e-9;  ///< on the largest change of a probability
  std::uint64_t seed = 0;   ///< of the search for a start, where factors forbid states
};

/// Variables joined to clusters inside which factors form no cycles (chains of a grid, trees), each exact.
struct StructuredMeanField {
  std::int64_t iterations = 500;
  double tolerance = 1e-9;
  std::uint64_t seed = 0;
};

/// Generalized mean field (Xing, Jordan, Russell 2003): any clusters, each exact by junction tree.
struct GeneralizedMeanField {
  /// A number for each variable; found by graph partitioning if empty.
  std::vector<std::int64_t> clusters = {};
  std::int64_t cluster_size = 10;  ///< of those found
  std::int64_t iterations = 500;
  double tolerance = 1e-9;
  double memory_limit = 4294967296.0;  ///< bytes, for the tables of one cluster
  std::uint64_t seed = 0;
};

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const MeanField& options);
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const StructuredMeanField& options);
/// @throws NumericalError where a cluster's tables need more than the limit
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const GeneralizedMeanField& options);

#define TAPESTRY_EXTERN(Method)                                                           \
  extern template InferenceResult<float> infer(const FactorGraph<float>&, const Method&); \
  extern template InferenceResult<double> infer(const FactorGraph<double>&, const Method&);
TAPESTRY_EXTERN(MeanField)
TAPESTRY_EXTERN(StructuredMeanField)
TAPESTRY_EXTERN(GeneralizedMeanField)
#undef TAPESTRY_EXTERN

}  // namespace tapestry
