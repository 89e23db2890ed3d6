#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// A batch of linear chains of log-potentials. transitions[i, j] goes from state i at step t - 1 to state j at step t;
/// the matrix of sequence b into step t is at transitions + b * batch_stride + (t - 1) * step_stride (a stride is 0
/// where the matrix is shared). Steps from a sequence's length on are never read.
template <class T>
struct ChainInput {
  std::size_t batch, steps, states;
  const T* unary;  ///< [batch, steps, states]
  const T* transitions;
  std::size_t batch_stride, step_stride;
  const std::int64_t* lengths;  ///< [batch], or null: all are `steps` long
  const T* start;               ///< [states] added to the first step, or null
  const T* end;                 ///< [states] added to the last step, or null
};

/// How many elements the buffers of a problem need, and in what units its work is split.
struct ChainLayout {
  std::size_t rows;              ///< sequences of a block; the blocks are independent of each other
  std::size_t blocks;            ///< of all sequences
  std::size_t matrices;          ///< different transition matrices
  std::size_t prepared_matrix;   ///< elements of one exponentiated transition matrix
  std::size_t saved_block;       ///< elements that a block keeps for its backward pass
  std::size_t transient_block;   ///< the same where nothing is kept
  std::size_t scratch_block;     ///< elements of scratch of a block's backward pass
  std::size_t gradient_scratch;  ///< elements of scratch of shared_gradient and step_gradient
  std::size_t sequence_scratch;  ///< elements of scratch of the per-sequence functions (curvature, entropy, best)
};

/// Log-partition of chains and what follows from it, in the scaled probability domain (Rabiner 1989) where that loses
/// nothing and in the log domain where it would: decided for each sequence by bounds on what could have been flushed
/// to zero. Buffers are aligned to 64 bytes and uninitialised; ranges are [first, last).
template <class T>
struct ChainKernels {
  ChainLayout (*layout)(const ChainInput<T>& in);
  /// Exponentiates the transition matrices [first, last) into prepared[matrices * prepared_matrix].
  void (*prepare)(const ChainInput<T>& in, std::size_t first, std::size_t last, T* prepared);
  /// log_partition[batch] of the sequences of the blocks. `saved` is the first block's; the following ones are behind
  /// it (keep), or reuse it.
  void (*forward)(const ChainInput<T>& in, const T* prepared, std::size_t first, std::size_t last, bool keep, T* saved,
                  T* log_partition);
  /// grad_unary[batch, steps, states] = g[batch] * marginals (zero beyond the length). `saved` and `scratch` are those
  /// of block 0.
  void (*backward)(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, std::size_t first,
                   std::size_t last, T* grad_unary, T* scratch);
  /// After backward: grad[states, states] = sum over the blocks' sequences and all steps of g * pairwise marginals.
  /// `scratch` is backward's, `sum` has gradient_scratch elements.
  void (*shared_gradient)(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* scratch,
                          std::size_t first, std::size_t last, T* grad, T* sum);
  /// After backward: the gradient of the matrices [first, last) of step-wise transitions, in their layout.
  void (*step_gradient)(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* scratch,
                        std::size_t first, std::size_t last, T* grad, T* sum);
  /// The directional derivative of log_partition and of its gradient along (unary, transitions) of the same layout
  /// (finite; null for zero): the Hessian-vector product. tangent_unary is written, tangent_transitions (laid out as
  /// the transitions) is added to; each may be null. For sequences [first, last).
  void (*curvature)(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* direction_unary,
                    const T* direction_transitions, std::size_t first, std::size_t last, T* tangent_log_partition,
                    T* tangent_unary, T* tangent_transitions, T* scratch);
  /// entropy[batch] in nats, from what forward kept.
  void (*entropy)(const ChainInput<T>& in, const T* prepared, const T* saved, std::size_t first, std::size_t last,
                  T* entropy, T* scratch);
  /// The best sequence of states, path[batch, steps] (-1 beyond the length or where all are impossible), and its
  /// score; of equal ones the lowest states from the end.
  void (*best)(const ChainInput<T>& in, std::size_t first, std::size_t last, std::int64_t* path, T* score, T* scratch);
  /// The k best, paths[batch, k, steps] and scores[batch, k] in falling order (-1 and -inf where there are fewer), of
  /// one sequence b. values: steps * states * k elements; pointers: as many.
  void (*best_k)(const ChainInput<T>& in, std::size_t b, std::size_t k, std::int64_t* paths, T* scores, double* values,
                 std::int64_t* pointers);
  /// Exact samples by backward sampling from what forward kept, of the sequences [first, last): paths[samples, batch,
  /// steps] from uniforms in [0, 1) of the same shape (-1 beyond the length or where all are impossible).
  void (*sample)(const ChainInput<T>& in, const T* prepared, const T* saved, const T* uniforms, std::size_t samples,
                 std::size_t first, std::size_t last, std::int64_t* paths, T* scratch);
};

}  // namespace tapestry::detail
