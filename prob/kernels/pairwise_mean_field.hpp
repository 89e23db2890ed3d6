#pragma once

#include <tapestry/prob/kernels/pairwise_belief_propagation.hpp>

namespace tapestry::detail {

/// Parallel mean field on pairwise factors: what each factor's expected log-potential adds to the logits of its
/// variables. Layouts are those of PairwiseBeliefPropagationKernels, with logarithms where that has exponentials; q and
/// what is like it are [variables, states].
template <class T>
struct PairwiseMeanFieldKernels {
  /// Log-potentials of each block, [states * states][lanes].
  void (*load)(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, std::size_t first,
               std::size_t last, T* tables);
  void (*expect)(const PairwiseGraph& graph, const T* tables, const T* q, std::size_t first, std::size_t last,
                 T* messages);
  /// From the gradient of the logits: that of q, by sender, at the place of the message; grad_pairs is added to.
  void (*expect_backward)(const PairwiseGraph& graph, const T* tables, const T* q, const T* grad_logits,
                          std::size_t first, std::size_t last, T* grad_sent, T* grad_pairs);
};

}  // namespace tapestry::detail
