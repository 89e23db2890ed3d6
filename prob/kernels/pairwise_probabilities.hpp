#pragma once

#include <tapestry/prob/kernels/pairwise_belief_propagation.hpp>

namespace tapestry::detail {

/// Flooding sum-product on pairwise factors with messages that are probabilities, for potentials that span no more
/// than `widest_range` everywhere and variables that each have a possible state: no exponential and no logarithm in
/// the iterations, and all that is random access is done by variables. Messages, and cavities (what a variable's
/// belief is without the message of the receiver, at the place of the message made from it) are in blocks of the size
/// of PairwiseBeliefPropagationKernels', exponentials in the same layout.
template <class T>
struct PairwiseProbabilityKernels {
  static constexpr T widest_range = sizeof(T) == 4 ? T(15) : T(40);

  /// exponentials[variables, states] of the unary potentials less the largest of each variable.
  void (*load_unary)(const PairwiseGraph& graph, const T* unary, std::size_t first, std::size_t last, T* exponentials);
  /// The cavities of block b go to place slots[b] (null: b).
  void (*cavities)(const PairwiseGraph& graph, const T* unary, const T* messages, const std::int32_t* slots,
                   std::size_t first, std::size_t last, T* cavities);
  /// The new messages of blocks[first, last) (null: blocks first to last), from cavities at their slots. `next` may be
  /// `messages`. Returns the largest change of a message if `measured`.
  T (*step)
  (const PairwiseGraph& graph, const T* exponentials, T damping, const T* messages, const T* cavities,
   const std::int32_t* blocks, const std::int32_t* slots, std::size_t first, std::size_t last, bool measured, T* next);
  /// In the layout of PairwiseBeliefPropagationKernels, for blocks [first, last).
  void (*logarithms)(const PairwiseGraph& graph, const T* messages, std::size_t first, std::size_t last, T* out);
  /// The gradients of logarithms of messages, by receivers, from those of the beliefs (grad_cavities null), or from
  /// those of the logarithms of the cavities that were made from them; then grad_unary is added to.
  void (*spread)(const PairwiseGraph& graph, const T* grad_beliefs, const T* grad_cavities, std::size_t first,
                 std::size_t last, T* grad_messages, T* grad_unary);
  /// One step back, from grad_messages (of `next`) to grad_cavities; adds to grad_pairs. `carry`, null without damping,
  /// is what damping hands on to the messages: read, and replaced.
  void (*step_backward)(const PairwiseGraph& graph, const T* exponentials, T damping, const T* messages, const T* next,
                        const T* cavities, const T* grad_messages, std::size_t first, std::size_t last,
                        T* grad_cavities, T* carry, T* grad_pairs);
};

}  // namespace tapestry::detail
