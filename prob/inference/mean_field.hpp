#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/gradient_mode.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// Mean field: a lower bound on the log-partition, which coordinate ascent (all but parallel updates) never lowers.
/// Where the ascent has converged the bound's gradient is the factors' expected statistics. That of marginals, and of a
/// bound before convergence, passes through the sweeps, which are made again for it; with GradientMode::likelihood
/// marginals are constants. First derivatives only.

enum class MeanFieldUpdate {
  coordinate,  ///< one variable after the other, given the newest of the others
  parallel     ///< all from the old ones; may oscillate without damping. Gradients through the iterations
};

/// Naive mean field: every variable independent of the others.
struct MeanField {
  static constexpr const char* name = "mean field";
  std::int64_t iterations = 500;
  double tolerance = 1e-9;  ///< on the largest change of a probability
  std::uint64_t seed = 0;   ///< of the search for a start, where factors forbid states
  MeanFieldUpdate update = MeanFieldUpdate::coordinate;

  /// Part of the old probabilities that stays in parallel updates. These need tables that are finite but for unary ones
  /// and evidence; on unary and pairwise tables of one cardinality they run on vector kernels.
  double damping = 0;
  GradientMode gradient = GradientMode::unrolled;
  std::int64_t truncation = 5;   ///< iterations that GradientMode::truncated passes through
  bool factor_marginals = true;  ///< without, result.factors is empty after parallel updates
  /// Whether parallel updates put the bound after each iteration into the trace, which takes about as long as another
  /// iteration; coordinate ascent does always, programs never.
  bool trace_bounds = true;
};

/// Variables joined to clusters inside which factors form no cycles (chains of a grid, trees), each exact.
struct StructuredMeanField {
  static constexpr const char* name = "structured mean field";
  std::int64_t iterations = 500;
  double tolerance = 1e-9;
  std::uint64_t seed = 0;
  GradientMode gradient = GradientMode::unrolled;
  std::int64_t truncation = 5;
};

/// Generalized mean field (Xing, Jordan, Russell 2003): any clusters, each exact by junction tree.
struct GeneralizedMeanField {
  static constexpr const char* name = "generalized mean field";
  /// A number for each variable; found by graph partitioning if empty.
  std::vector<std::int64_t> clusters = {};
  std::int64_t cluster_size = 10;  ///< of those found; smaller where tables would not fit
  std::int64_t iterations = 500;
  double tolerance = 1e-9;
  double memory_limit = 4294967296.0;  ///< bytes, for the tables of one cluster
  std::uint64_t seed = 0;
  GradientMode gradient = GradientMode::unrolled;
  std::int64_t truncation = 5;
};

/// @throws for parallel updates GraphError for factors other than tables, NumericalError for tables over several
/// variables that are not finite and damping outside [0, 1)
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const MeanField& options);
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const StructuredMeanField& options);
/// @throws NumericalError where the tables of a cluster that was given need more than the limit
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
