#include <tapestry/prob/kernels/chain_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T, std::size_t rows, std::size_t vectors>
TAPESTRY_INLINE void backward_panel(const T* ratio, const T* transposed, T* beta, std::size_t states,
                                    std::size_t width) {
  Vec<T> acc[rows][vectors];
  multiply<T, rows, vectors>(ratio, width, transposed, width, states, acc);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t v = 0; v < vectors; ++v) store<T>(beta + r * width + v * lanes<T>, acc[r][v]);
}

// beta is scaled so that sum_j alpha_t[j] beta_t[j] = 1: marginals need no normalisation. Every 16 steps the rounding
// that has gathered is divided out.
template <class T, std::size_t rows>
void backward_block(const ChainInput<T>& in, const T* prepared, std::size_t first, const ChainBlock<T>& block,
                    const T* g, T* grad_unary, T* scratch) {
  const std::size_t K = in.states, width = block.width;
  T* beta = scratch + in.steps * rows * width;
  T* ratio = beta + rows * width;
  std::size_t length[rows];
  T gradient[rows];
  std::size_t longest = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    const bool scaled = first + r < in.batch && block.mode_of(r) == ChainMode::scaled;
    length[r] = scaled ? length_of(in, first + r) : 0;
    gradient[r] = scaled ? g[first + r] : T(0);
    longest = length[r] > longest ? length[r] : longest;
  }
  for (std::size_t r = 0; r < rows && first + r < in.batch; ++r)
    for (std::size_t n = length[r] * K; n < in.steps * K; ++n) grad_unary[(first + r) * in.steps * K + n] = T(0);
  for (std::size_t t = longest; t-- > 0;) {
    for (std::size_t r = 0; r < rows; ++r) {
      T* b = beta + r * width;
      T* scaled_ratio = scratch + (t * rows + r) * width;
      if (t >= length[r]) {
        for (std::size_t k = 0; k < width; k += lanes<T>) {
          store<T>(b + k, Vec<T>{});
          store<T>(ratio + r * width + k, Vec<T>{});
          store<T>(scaled_ratio + k, Vec<T>{});
        }
        continue;
      }
      const T* alpha = block.alpha_at(t, r);
      const T* unary = block.unary_at(t, r);
      if (t + 1 == length[r]) {
        const Vec<T> one = splat<T>(block.inverse_at(t, r));
        for (std::size_t k = 0; k < width; k += lanes<T>) store<T>(b + k, one);
      } else if ((length[r] - 1 - t) % 16 == 0) {
        Vec<T> total{};
        for (std::size_t k = 0; k < width; k += lanes<T>) total += load<T>(alpha + k) * load<T>(b + k);
        const Vec<T> correction = T(1) / sum_lanes<T>(total);
        for (std::size_t k = 0; k < width; k += lanes<T>) store<T>(b + k, load<T>(b + k) * correction);
      }
      const T factor = t > 0 ? block.inverse_at(t - 1, r) : T(0);
      T* grad = grad_unary + ((first + r) * in.steps + t) * K;
      for (std::size_t k = 0; k < width; k += lanes<T>) {
        const Vec<T> x = load<T>(b + k);
        store_partial<T>(grad + k, load<T>(alpha + k) * x * gradient[r], K - k);
        const Vec<T> y = x * load<T>(unary + k) * factor;
        store<T>(ratio + r * width + k, y);
        store<T>(scaled_ratio + k, y * gradient[r]);
      }
    }
    if (t == 0) break;
    const Prepared<T> matrix = prepared_of(in, prepared, first, t);
    std::size_t k = 0;
    if constexpr (panel_vectors > 1)
      for (; k + panel_vectors * lanes<T> <= width; k += panel_vectors * lanes<T>)
        backward_panel<T, rows, panel_vectors>(ratio, matrix.transposed + k, beta + k, K, width);
    for (; k < width; k += lanes<T>) backward_panel<T, rows, 1>(ratio, matrix.transposed + k, beta + k, K, width);
  }
  for (std::size_t r = 0; r < rows && first + r < in.batch; ++r)
    if (block.mode_of(r) == ChainMode::logarithmic)
      chain_log_backward(in, first + r, block, r, g[first + r], grad_unary + (first + r) * in.steps * K, scratch, beta);
}
}  // namespace

template <class T>
void chain_backward(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, std::size_t first,
                    std::size_t last, T* grad_unary, T* scratch) {
  const ChainLayout layout = chain_layout(in);
  for (std::size_t n = first; n < last; ++n) {
    const ChainBlock<T> block = block_of(in, layout, saved, n * layout.rows);
    T* block_scratch = scratch + n * layout.scratch_block;
    if (layout.rows == 8)
      backward_block<T, 8>(in, prepared, n * 8, block, g, grad_unary, block_scratch);
    else if (layout.rows == 4)
      backward_block<T, 4>(in, prepared, n * 4, block, g, grad_unary, block_scratch);
    else
      backward_block<T, 1>(in, prepared, n, block, g, grad_unary, block_scratch);
  }
}

#define TAPESTRY_INSTANTIATE(T) \
  template void chain_backward(const ChainInput<T>&, const T*, const T*, const T*, std::size_t, std::size_t, T*, T*);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail::TAPESTRY_ARCH
