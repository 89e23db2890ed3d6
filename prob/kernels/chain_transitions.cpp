#include <tapestry/prob/kernels/chain_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

/// out[i, j] += sum over n of a[n, i] * r[n, j] for `height` rows i and one panel of columns j.
template <class T, std::size_t height, std::size_t vectors>
void outer_panel(const T* a, const T* r, std::size_t stride, std::size_t n, T* out, std::size_t out_stride) {
  Vec<T> acc[height][vectors];
  for (std::size_t i = 0; i < height; ++i)
    for (std::size_t v = 0; v < vectors; ++v) acc[i][v] = Vec<T>{};
  for (std::size_t m = 0; m < n; ++m, a += stride, r += stride) {
    Vec<T> columns[vectors];
    for (std::size_t v = 0; v < vectors; ++v) columns[v] = load<T>(r + v * lanes<T>);
    for (std::size_t i = 0; i < height; ++i) {
      const Vec<T> factor = splat<T>(a[i]);
      for (std::size_t v = 0; v < vectors; ++v) acc[i][v] += factor * columns[v];
    }
  }
  for (std::size_t i = 0; i < height; ++i)
    for (std::size_t v = 0; v < vectors; ++v) {
      T* p = out + i * out_stride + v * lanes<T>;
      store<T>(p, load<T>(p) + acc[i][v]);
    }
}

template <class T, std::size_t vectors, std::size_t height>
void outer_rows(std::size_t rows, const T* a, const T* r, std::size_t stride, std::size_t n, T* out,
                std::size_t out_stride) {
  if constexpr (height > 1)
    if (rows != height) return outer_rows<T, vectors, height - 1>(rows, a, r, stride, n, out, out_stride);
  outer_panel<T, height, vectors>(a, r, stride, n, out, out_stride);
}

#if defined(__AVX512F__)
constexpr std::size_t outer_height = 13;
#else
constexpr std::size_t outer_height = 6;
#endif

/// sum[i, j] += sum over n of a[n, i] * r[n, j]; sum is [states][width].
template <class T>
void outer(const T* a, const T* r, std::size_t stride, std::size_t n, std::size_t states, std::size_t width, T* sum) {
  const std::size_t chunks = (states + outer_height - 1) / outer_height, height = (states + chunks - 1) / chunks;
  for (std::size_t i = 0; i < states; i += height) {
    const std::size_t rows = states - i < height ? states - i : height;
    std::size_t k = 0;
    for (; k + 2 * lanes<T> <= width; k += 2 * lanes<T>)
      outer_rows<T, 2, outer_height>(rows, a + i, r + k, stride, n, sum + i * width + k, width);
    if (k < width) outer_rows<T, 1, outer_height>(rows, a + i, r + k, stride, n, sum + i * width + k, width);
  }
}

template <class T>
bool any_logarithmic(const ChainBlock<T>& block) {
  bool any = false;
  for (std::size_t r = 0; r < block.rows; ++r) any |= block.mode_of(r) == ChainMode::logarithmic;
  return any;
}

/// Steps [begin, end) of a block; ratio is the block's scratch.
template <class T>
void add_scaled(const ChainInput<T>& in, const ChainBlock<T>& block, const T* ratio, std::size_t begin, std::size_t end,
                T* sum) {
  const std::size_t width = block.width, step = block.rows * width;
  if (begin >= end) return;
  if (!any_logarithmic(block)) {
    outer(block.alpha_at(begin - 1, 0), ratio + begin * step, width, (end - begin) * block.rows, in.states, width, sum);
    return;
  }
  for (std::size_t r = 0; r < block.rows; ++r)
    if (block.mode_of(r) == ChainMode::scaled)
      outer(block.alpha_at(begin - 1, r), ratio + begin * step + r * width, step, end - begin, in.states, width, sum);
}

template <class T>
void add_logarithmic(const ChainInput<T>& in, const ChainBlock<T>& block, std::size_t first, const T* g, const T* ratio,
                     std::size_t begin, std::size_t end, T* grad) {
  for (std::size_t r = 0; r < block.rows && first + r < in.batch; ++r) {
    if (block.mode_of(r) != ChainMode::logarithmic) continue;
    const std::size_t length = length_of(in, first + r);
    for (std::size_t t = begin; t < end && t < length; ++t)
      chain_log_pairwise(in, first + r, t, block.alpha_at(t - 1, r), ratio + (t * block.rows + r) * block.width,
                         g[first + r], grad);
  }
}

/// The longest sequence of a block: what is behind was never written.
template <class T>
std::size_t longest_scaled(const ChainInput<T>& in, const ChainBlock<T>& block, std::size_t first) {
  std::size_t longest = 0;
  for (std::size_t r = 0; r < block.rows && first + r < in.batch; ++r)
    if (block.mode_of(r) == ChainMode::scaled && length_of(in, first + r) > longest) longest = length_of(in, first + r);
  return longest;
}
}  // namespace

template <class T>
void chain_shared_gradient(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* scratch,
                           std::size_t first, std::size_t last, T* grad, T* sum) {
  const ChainLayout layout = chain_layout(in);
  const std::size_t K = in.states, width = padded<T>(K);
  for (std::size_t n = 0; n < K * width; ++n) sum[n] = T(0);
  for (std::size_t n = first; n < last; ++n) {
    const ChainBlock<T> block = block_of(in, layout, saved, n * layout.rows);
    add_scaled(in, block, scratch + n * layout.scratch_block, 1, longest_scaled(in, block, n * layout.rows), sum);
  }
  const Prepared<T> matrix = prepared_of(in, prepared, 0, 1);
  for (std::size_t i = 0; i < K; ++i)
    for (std::size_t j = 0; j < K; ++j) grad[i * K + j] = sum[i * width + j] * matrix.forward[i * width + j];
  for (std::size_t n = first; n < last; ++n) {
    const ChainBlock<T> block = block_of(in, layout, saved, n * layout.rows);
    add_logarithmic(in, block, n * layout.rows, g, scratch + n * layout.scratch_block, 1, in.steps, grad);
  }
}

template <class T>
void chain_step_gradient(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* scratch,
                         std::size_t first, std::size_t last, T* grad, T* sum) {
  const ChainLayout layout = chain_layout(in);
  const std::size_t K = in.states, width = padded<T>(K);
  const std::size_t per_sequence = in.step_stride != 0 ? in.steps - 1 : 1;
  for (std::size_t m = first; m < last; ++m) {
    // A matrix of a sequence, or of all; of one step, or of all.
    const std::size_t begin_block = in.batch_stride != 0 ? m / per_sequence : 0;
    const std::size_t end_block = in.batch_stride != 0 ? begin_block + 1 : layout.blocks;
    const std::size_t begin = in.step_stride != 0 ? m % per_sequence + 1 : 1;
    const std::size_t end = in.step_stride != 0 ? begin + 1 : in.steps;
    const Prepared<T> matrix = prepared_of(in, prepared, begin_block, begin);
    T* out = grad + (in.batch_stride != 0 ? begin_block * in.batch_stride : 0) + (begin - 1) * in.step_stride;
    for (std::size_t n = 0; n < K * width; ++n) sum[n] = T(0);
    bool reached = false;  // else the matrix may hold anything
    for (std::size_t n = begin_block; n < end_block; ++n) {
      const ChainBlock<T> block = block_of(in, layout, saved, n * layout.rows);
      const std::size_t longest = longest_scaled(in, block, n * layout.rows);
      reached |= begin < longest;
      add_scaled(in, block, scratch + n * layout.scratch_block, begin, end < longest ? end : longest, sum);
    }
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j)
        out[i * K + j] = reached ? sum[i * width + j] * matrix.forward[i * width + j] : T(0);
    for (std::size_t n = begin_block; n < end_block; ++n) {
      const ChainBlock<T> block = block_of(in, layout, saved, n * layout.rows);
      add_logarithmic(in, block, n * layout.rows, g, scratch + n * layout.scratch_block, begin, end, out);
    }
  }
}

#define TAPESTRY_INSTANTIATE(T)                                                                                  \
  template void chain_shared_gradient(const ChainInput<T>&, const T*, const T*, const T*, const T*, std::size_t, \
                                      std::size_t, T*, T*);                                                      \
  template void chain_step_gradient(const ChainInput<T>&, const T*, const T*, const T*, const T*, std::size_t,   \
                                    std::size_t, T*, T*);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail::TAPESTRY_ARCH
