#pragma once

#include <tapestry/prob/kernels/pairwise_belief_propagation.hpp>

namespace tapestry::detail {

/// What messages of pairwise factors say: probabilities of factors with their normalisers, and how far messages moved.
/// Layouts are those of PairwiseBeliefPropagationKernels; `rows` says that messages are laid out as
/// PairwiseProbabilityKernels has them.
template <class T>
struct PairwiseBeliefKernels {
  /// probabilities[end - begin, states, states] (may be null) of the factors in [begin, end) among those of the blocks,
  /// zero where all is impossible, and log_normalisers[factors] of exp(potential + both cavities), from what prepare()
  /// and gather() gave and messages that are logarithms.
  void (*factors)(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, const T* exponentials,
                  const T* range, const T* shift, const T* beliefs, const T* infinite, const T* messages,
                  std::size_t first, std::size_t last, std::size_t begin, std::size_t end, T* probabilities,
                  T* log_normalisers);
  /// From the gradients of the normalisers (all alike, each times its factor's of weights[blocks * lanes] if not null)
  /// and of the probabilities (null for none): those of the cavities are written, grad_pairs is added to.
  void (*factors_backward)(const PairwiseGraph& graph, const T* probabilities, T grad_normaliser,
                           const T* grad_probabilities, const T* weights, std::size_t first, std::size_t last,
                           T* grad_cavities, T* grad_pairs);
  /// From columns to the layout of PairwiseProbabilityKernels, in place.
  void (*to_rows)(const PairwiseGraph& graph, std::size_t first, std::size_t last, T* messages);
  /// The largest difference of probabilities in two sets of messages, which are logarithms or probabilities in rows.
  T (*change)(const PairwiseGraph& graph, bool rows, const T* a, const T* b, std::size_t first, std::size_t last);
  /// y = exp(x) of n elements that are at most zero
  void (*exp)(const T* x, std::size_t n, T* y);
};

}  // namespace tapestry::detail
