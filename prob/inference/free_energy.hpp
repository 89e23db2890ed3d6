#pragma once

#include <vector>

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// What Bethe's estimate of the log-partition consists of at given marginals (Yedidia, Freeman, Weiss 2005). It is the
/// negative Bethe free energy: expected score plus entropy. All on the tape, in nats.
template <class T>
struct BetheParts {
  Var<T> score;                            ///< expected sum of the potentials (the negative mean energy): [] or [batch]
  std::vector<Var<T>> factor_entropies;    ///< of each group: [factors] or [batch, factors]
  std::vector<Var<T>> variable_entropies;  ///< of each group: [shape...] or [batch, shape...]
  Var<T> entropy;                          ///< these, each times its counting number: [] or [batch]
  Var<T> log_partition;                    ///< score + entropy
};

/// The parts at a result's marginals. `weights` are the factors' counting numbers as in BeliefPropagation::weights or
/// TreeReweighted::weights; a variable's is one less those of its factors. At converged messages log_partition is that
/// of the result; for products of variables' marginals (mean field) it is their bound.
/// @throws GraphError where the result has no marginals of factors, or factors are no tables; ShapeError for weights of
/// another number
template <class T>
BetheParts<T> bethe_parts(const FactorGraph<T>& graph, const InferenceResult<T>& result,
                          const std::vector<double>& weights = {});

extern template BetheParts<float> bethe_parts(const FactorGraph<float>&, const InferenceResult<float>&,
                                              const std::vector<double>&);
extern template BetheParts<double> bethe_parts(const FactorGraph<double>&, const InferenceResult<double>&,
                                               const std::vector<double>&);

}  // namespace tapestry
