#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Pairwise factors between variables of the same number of states, as index arrays. The factors of variable v are
/// incident[offsets[v] .. offsets[v + 1]): 2 f + 1 where it is the first of factor f, 2 f where it is the second.
struct PairwiseGraph {
  std::size_t variables, factors, states;
  const std::int64_t* first;    ///< [factors] the variable that the rows of a potential stand for
  const std::int64_t* second;   ///< [factors] columns
  const std::int64_t* offsets;  ///< [variables + 1]
  const std::int64_t* incident;
  /// Per block of factors the first one with the same potentials (null: each has its own), at whose place what is
  /// computed from potentials stands for all of them.
  const std::int32_t* tables = nullptr;
};

/// Flooding sum-product on pairwise factors. Messages are logarithms, normalised; factors are in blocks of `lanes`,
/// messages in blocks [2][states][lanes], to `second` and to `first`. Products over a message's states are in
/// probabilities where a block's potentials span no more than 30 (float) or 330 (double), else log-sum-exps: both are
/// exact for any degree and any unary potentials, -inf included. New messages are damped in probabilities; what is
/// impossible is so at once.
/// Work is on blocks or variables [first, last), which may run in parallel within a step.
template <class T>
struct PairwiseBeliefPropagationKernels {
  std::size_t lanes;
  /// Exponentials [states * states][lanes] of each block's potentials, of factor f at potentials + index[f] * states^2
  /// (f itself without an index), less each factor's largest log-potential shift[blocks * lanes], and range[blocks]
  /// that they span.
  void (*prepare)(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, std::size_t first,
                  std::size_t last, T* exponentials, T* range, T* shift);
  void (*start)(const PairwiseGraph& graph, std::size_t first, std::size_t last, T* messages);
  /// Beliefs (logarithms, unnormalised) of variables: the sum of the finite parts, and (where not null) how many
  /// messages and potentials are -inf.
  void (*gather)(const PairwiseGraph& graph, const T* unary, const T* messages, std::size_t first, std::size_t last,
                 T* beliefs, T* infinite);
  void (*step)(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, const T* exponentials,
               const T* range, const T* beliefs, const T* infinite, T damping, const T* messages, std::size_t first,
               std::size_t last, T* next);
  /// log_marginals[variables, states].
  void (*normalise)(const PairwiseGraph& graph, const T* beliefs, const T* infinite, std::size_t first,
                    std::size_t last, T* log_marginals);
  /// grad_beliefs from the gradient of log_marginals; grad_unary gets the same.
  void (*normalise_backward)(const PairwiseGraph& graph, const T* log_marginals, const T* grad, std::size_t first,
                             std::size_t last, T* grad_beliefs, T* grad_unary);
  /// One step back. grad_cavity holds, for each message, the gradient of the cavity that the message after it was made
  /// from (zero at first), and is replaced; carry likewise what damping hands on (null without damping). weights[blocks
  /// * lanes] (or null) say how much of a factor's messages beliefs are made of. Adds to grad_pairs, in the layout of
  /// the exponentials.
  void (*step_backward)(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index,
                        const T* exponentials, const T* range, const T* beliefs, const T* infinite, T damping,
                        const T* messages, const T* next, const T* grad_beliefs, const T* weights, std::size_t first,
                        std::size_t last, T* grad_cavity, T* carry, T* grad_pairs);
  /// The gradients of beliefs from those of the cavities; adds them to grad_unary.
  void (*scatter)(const PairwiseGraph& graph, const T* grad_cavity, std::size_t first, std::size_t last,
                  T* grad_beliefs, T* grad_unary);
};

}  // namespace tapestry::detail
