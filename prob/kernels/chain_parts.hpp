#pragma once

#include <tapestry/prob/kernels/chain.hpp>
#include <tapestry/prob/kernels/vectors.hpp>

// What the files of the chain kernels share: where things are in the buffers, and the functions in the log domain.
namespace tapestry::detail::TAPESTRY_ARCH {

/// Whether a sum over steps is added to that of all steps before: one number after the other rounds a long chain's the
/// same way at every step.
TAPESTRY_INLINE bool ends_sum(std::size_t t) {
  return t % 256 == 255;
}

/// How a sequence was computed.
enum class ChainMode { none, scaled, logarithmic };

ChainLayout chain_layout(std::size_t batch, std::size_t steps, std::size_t states, std::size_t element_bytes,
                         bool matrix_per_sequence, bool matrix_per_step);

template <class T>
ChainLayout chain_layout(const ChainInput<T>& in) {
  return chain_layout(in.batch, in.steps, in.states, sizeof(T), in.batch_stride != 0, in.step_stride != 0);
}

template <class T>
TAPESTRY_INLINE std::size_t length_of(const ChainInput<T>& in, std::size_t b) {
  return in.lengths == nullptr ? in.steps : static_cast<std::size_t>(in.lengths[b]);
}

/// The matrix of sequence b into step t >= 1, as given.
template <class T>
TAPESTRY_INLINE const T* matrix_of(const ChainInput<T>& in, std::size_t b, std::size_t t) {
  return in.transitions + b * in.batch_stride + (t - 1) * in.step_stride;
}

/// An exponentiated matrix: [states][padded] from row to column, its transpose, and what was subtracted.
template <class T>
struct Prepared {
  const T* forward;
  const T* transposed;
  T shift;         ///< the largest entry, which became 1
  T range;         ///< from the smallest finite entry to the largest
  bool forbidden;  ///< whether there are entries of -inf
};
template <class T>
TAPESTRY_INLINE Prepared<T> prepared_of(const ChainInput<T>& in, const T* prepared, std::size_t b, std::size_t t) {
  const std::size_t width = padded<T>(in.states), square = in.states * width;
  const std::size_t per_sequence = in.step_stride != 0 ? in.steps - 1 : 1;
  const std::size_t index = (in.batch_stride != 0 ? b * per_sequence : 0) + (in.step_stride != 0 ? t - 1 : 0);
  const T* p = prepared + index * (2 * square + 16);
  return {p, p + square, p[2 * square], p[2 * square + 1], p[2 * square + 2] != T(0)};
}

/// What a block of sequences keeps. Scaled: alpha[t][row][state] are forward probabilities of which the sum at t - 1
/// was divided out at t, unary the exponentials (1 the largest of a step), inverse[t][row] one over that sum.
/// Logarithmic: alpha are logarithms, 0 the largest; unary is as given (with start and end), inverse what was
/// subtracted.
template <class T>
struct ChainBlock {
  std::size_t rows, width, kept;
  T *alpha, *unary, *inverse, *mode;

  ChainBlock(T* base, std::size_t rows_, std::size_t states, std::size_t kept_)
      : rows(rows_),
        width(padded<T>(states)),
        kept(kept_),
        alpha(base),
        unary(alpha + kept * rows * width),
        inverse(unary + kept * rows * width),
        mode(inverse + (kept * rows + 15) / 16 * 16) {}
  static std::size_t elements(std::size_t rows, std::size_t width, std::size_t kept) {
    return 2 * kept * rows * width + (kept * rows + 15) / 16 * 16 + 16;
  }
  std::size_t at(std::size_t t) const { return t % kept; }
  T* alpha_at(std::size_t t, std::size_t row) const { return alpha + (at(t) * rows + row) * width; }
  T* unary_at(std::size_t t, std::size_t row) const { return unary + (at(t) * rows + row) * width; }
  T& inverse_at(std::size_t t, std::size_t row) const { return inverse[at(t) * rows + row]; }
  ChainMode mode_of(std::size_t row) const { return static_cast<ChainMode>(static_cast<int>(mode[row])); }
};

/// The block of a sequence (what is kept of all steps), for reading.
template <class T>
ChainBlock<T> block_of(const ChainInput<T>& in, const ChainLayout& layout, const T* saved, std::size_t b) {
  return {const_cast<T*>(saved) + b / layout.rows * layout.saved_block, layout.rows, in.states, in.steps};
}

/// The log-potentials of one step with start and end added, padded with -inf: out[padded]. Returns the largest.
template <class T>
TAPESTRY_INLINE T unary_row(const ChainInput<T>& in, std::size_t b, std::size_t t, bool last, T* out) {
  const std::size_t K = in.states;
  const T* u = in.unary + (b * in.steps + t) * K;
  Vec<T> most = splat<T>(-infinity<T>);
  for (std::size_t k = 0; k < K; k += lanes<T>) {
    Vec<T> x = load_partial<T>(u + k, K - k, -infinity<T>);
    if (in.start != nullptr && t == 0) x += load_partial<T>(in.start + k, K - k, T(0));
    if (in.end != nullptr && last) x += load_partial<T>(in.end + k, K - k, T(0));
    store<T>(out + k, x);
    most = vmax<T>(x, most);
  }
  return max_lanes<T>(most)[0];
}

/// Forward and backward recursions of one sequence in the log domain; row is its place in the block.
template <class T>
void chain_log_forward(const ChainInput<T>& in, std::size_t b, ChainBlock<T> block, std::size_t row, T* log_partition);
/// Writes grad_unary of the sequence and ratio[t][row], such that the pairwise marginal into step t is
/// exp(alpha[t - 1, i] + transitions[i, j] + ratio[t, j]). beta: scratch of 2 padded rows.
template <class T>
void chain_log_backward(const ChainInput<T>& in, std::size_t b, const ChainBlock<T>& block, std::size_t row, T g,
                        T* grad_unary, T* ratio, T* beta);
/// grad += g * pairwise marginals into step t.
template <class T>
void chain_log_pairwise(const ChainInput<T>& in, std::size_t b, std::size_t t, const T* alpha, const T* ratio, T g,
                        T* grad);

// What the entries of ChainKernels are, one file each.
template <class T>
void chain_forward(const ChainInput<T>& in, const T* prepared, std::size_t first, std::size_t last, bool keep, T* saved,
                   T* log_partition);
template <class T>
void chain_backward(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, std::size_t first,
                    std::size_t last, T* grad_unary, T* scratch);
template <class T>
void chain_shared_gradient(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* scratch,
                           std::size_t first, std::size_t last, T* grad, T* sum);
template <class T>
void chain_step_gradient(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* scratch,
                         std::size_t first, std::size_t last, T* grad, T* sum);
template <class T>
void chain_curvature(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* direction_unary,
                     const T* direction_transitions, std::size_t first, std::size_t last, T* tangent_log_partition,
                     T* tangent_unary, T* tangent_transitions, T* scratch);
template <class T>
void chain_entropy(const ChainInput<T>& in, const T* prepared, const T* saved, std::size_t first, std::size_t last,
                   T* entropy, T* scratch);
template <class T>
void chain_best(const ChainInput<T>& in, std::size_t first, std::size_t last, std::int64_t* path, T* score, T* scratch);
template <class T>
void chain_best_k(const ChainInput<T>& in, std::size_t b, std::size_t k, std::int64_t* paths, T* scores, double* values,
                  std::int64_t* pointers);
template <class T>
void chain_sample(const ChainInput<T>& in, const T* prepared, const T* saved, const T* uniforms, std::size_t samples,
                  std::size_t first, std::size_t last, std::int64_t* paths, T* scratch);

}  // namespace tapestry::detail::TAPESTRY_ARCH
