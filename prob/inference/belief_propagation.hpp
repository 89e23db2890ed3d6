#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/gradient_mode.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// The order in which messages are computed.
enum class Schedule {
  flooding,    ///< all from the old ones
  sequential,  ///< factor by factor, from the newest ones
  random,      ///< factor by factor in an order drawn for each iteration
  residual,    ///< the largest change first (Elidan, McGraw, Koller 2006)
  tree         ///< from the leaves of a spanning forest to its roots and back: two passes are exact on trees
};

/// Loopy belief propagation (Pearl 1988; Kschischang, Frey, Loeliger 2001): sum-product at temperature 1, max-product
/// at 0. The log-partition is Bethe's estimate, exact on trees at convergence.
///
/// Gradients pass through iterations by any schedule: which messages were renewed in turn counts as constant. Flooding
/// at temperatures above 0 on unary and pairwise tables of one cardinality (64 states at most) runs on vector kernels
/// in the precision of T, if weights of pairs are positive and those of variables ones; all else in double, factor by
/// factor.
struct BeliefPropagation {
  static constexpr const char* name = "belief propagation";
  std::int64_t iterations = 100;
  /// On the largest change of a message's probability; what the type's rounding does not reach is not waited for.
  double tolerance = 1e-8;
  double damping = 0;  ///< part of the old message that stays: of its probabilities, at temperature 0 of logarithms
  double temperature = 1;
  Schedule schedule = Schedule::flooding;
  GradientMode gradient = GradientMode::unrolled;
  std::int64_t truncation = 5;  ///< iterations that GradientMode::truncated passes through
  std::uint64_t seed = 0;       ///< of the random schedule
  /// A counting number for each factor group, or for each factor of all groups one after the other; ones if empty.
  /// Others than ones are fractional belief propagation (Wiegerinck, Heskes 2003).
  std::vector<double> weights = {};
  /// Without, result.factors is empty, which saves memory where there are millions.
  bool factor_marginals = true;
};

/// Tree-reweighted belief propagation (Wainwright, Jaakkola, Willsky 2005): an upper bound on the log-partition once
/// converged. Weights are the frequencies of factors in random maximal sets of factors without cycles, or given; where
/// those given are too large to be such frequencies, the log-partition is called an estimate.
struct TreeReweighted {
  static constexpr const char* name = "tree-reweighted";
  std::int64_t iterations = 200;
  double tolerance = 1e-8;
  double damping = 0.3;
  Schedule schedule = Schedule::flooding;
  GradientMode gradient = GradientMode::unrolled;
  std::int64_t truncation = 5;
  int forests = 50;  ///< drawn at least
  std::uint64_t seed = 0;
  std::vector<double> weights = {};
  /// Steps by which weights are moved to tighten the bound: see tree_weights(). Each costs some runs of messages; the
  /// bound after each is in trace.bound.
  int weight_updates = 0;
};

/// Weights of all factors for TreeReweighted::weights, by conditional gradient (Wainwright, Jaakkola, Willsky 2005):
/// the bound's derivative with respect to a factor's weight is less the mutual information of its variables, so weights
/// move towards the set of factors without cycles that has the most of it. Where a step of no length lowers the bound,
/// or messages do not converge, the search ends. `bounds`, if not null, gets the bound at the start and after each
/// step.
template <class T>
std::vector<double> tree_weights(const FactorGraph<T>& graph, const TreeReweighted& options,
                                 std::vector<double>* bounds = nullptr);

/// @throws GraphError for a graph without factors, NumericalError for NaN potentials
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const BeliefPropagation& options);
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const TreeReweighted& options);

extern template std::vector<double> tree_weights(const FactorGraph<float>&, const TreeReweighted&,
                                                 std::vector<double>*);
extern template std::vector<double> tree_weights(const FactorGraph<double>&, const TreeReweighted&,
                                                 std::vector<double>*);
extern template InferenceResult<float> infer(const FactorGraph<float>&, const BeliefPropagation&);
extern template InferenceResult<double> infer(const FactorGraph<double>&, const BeliefPropagation&);
extern template InferenceResult<float> infer(const FactorGraph<float>&, const TreeReweighted&);
extern template InferenceResult<double> infer(const FactorGraph<double>&, const TreeReweighted&);

}  // namespace tapestry
