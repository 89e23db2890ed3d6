#include <tapestry/prob/kernels/chain_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {

ChainLayout chain_layout(std::size_t batch, std::size_t steps, std::size_t states, std::size_t element_bytes,
                         bool matrix_per_sequence, bool matrix_per_step) {
  const std::size_t lane_count = vector_bytes / element_bytes;
  const std::size_t width = (states + lane_count - 1) / lane_count * lane_count;
  // Rows share the loads of the matrix: the fewest passes over it, weighed by what a pass costs.
  std::size_t rows = 8;
  if (matrix_per_sequence || batch <= 1)
    rows = 1;
  else if ((batch + 3) / 4 * 5 < (batch + 7) / 8 * 8)
    rows = 4;
  ChainLayout out{};
  out.rows = rows;
  out.blocks = (batch + rows - 1) / rows;
  const std::size_t per_sequence = matrix_per_step ? (steps > 0 ? steps - 1 : 0) : 1;
  out.matrices = (matrix_per_sequence ? batch : 1) * per_sequence;
  out.prepared_matrix = 2 * states * width + 16;
  const auto block = [&](std::size_t kept) { return 2 * kept * rows * width + (kept * rows + 15) / 16 * 16 + 16; };
  out.saved_block = block(steps);
  out.transient_block = block(2);
  out.scratch_block = (steps + 2) * rows * width;
  out.gradient_scratch = states * width;
  out.sequence_scratch = (steps + 8) * width;
  return out;
}

namespace {

template <class T>
void prepare(const ChainInput<T>& in, std::size_t first, std::size_t last, T* prepared) {
  const std::size_t K = in.states, width = padded<T>(K), square = K * width;
  const std::size_t per_sequence = in.step_stride != 0 ? in.steps - 1 : 1;
  for (std::size_t m = first; m < last; ++m) {
    const T* matrix = in.transitions + m / per_sequence * in.batch_stride + m % per_sequence * in.step_stride;
    T* forward = prepared + m * (2 * square + 16);
    T* transposed = forward + square;
    Vec<T> most = splat<T>(-infinity<T>), least = splat<T>(infinity<T>);
    Mask<T> forbidden{};
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; j += lanes<T>) {
        const Vec<T> upper = load_partial<T>(matrix + i * K + j, K - j, -infinity<T>);
        const Vec<T> lower = load_partial<T>(matrix + i * K + j, K - j, infinity<T>);
        forbidden |= lower == -infinity<T>;
        most = vmax<T>(upper, most);
        least = vmin<T>(lower == -infinity<T> ? splat<T>(infinity<T>) : lower, least);
      }
    const T high = max_lanes<T>(most)[0], low = -max_lanes<T>(-least)[0];
    bool any_forbidden = false;
    for (std::size_t v = 0; v < lanes<T>; ++v) any_forbidden |= forbidden[v] != 0;
    const T shift = high == -infinity<T> ? T(0) : high;
    for (std::size_t i = 0; i < K; ++i) {
      for (std::size_t j = 0; j < K; j += lanes<T>)
        store<T>(forward + i * width + j,
                 exp_nonpositive(load_partial<T>(matrix + i * K + j, K - j, -infinity<T>) - shift));
      for (std::size_t j = K; j < width; ++j) transposed[i * width + j] = T(0);
    }
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j) transposed[j * width + i] = forward[i * width + j];
    forward[2 * square] = shift;
    forward[2 * square + 1] = high == -infinity<T> ? T(0) : high - low;
    forward[2 * square + 2] = any_forbidden ? T(1) : T(0);
  }
}

// Forward probabilities are scaled to a sum of 1 at every step, so that a state whose share falls below the smallest
// normal number is lost. With transitions of a range of R nats that costs at most exp(2 R) * smallest_normal of the
// partition function, whatever the unary potentials: nothing below `harmless_range`. With a wider range or forbidden
// transitions a state of no weight may be the only way to the best continuation; then a sequence is certified: no
// share was ever so small that the next product could have been flushed. What is not certified goes to the log domain.
template <class T>
constexpr T harmless_range = sizeof(T) == 4 ? T(30) : T(330);

struct Certificate {
  bool wanted = false, hopeless = false;
  double threshold = 0;
};

template <class T>
Certificate certificate(const ChainInput<T>& in, const T* prepared, std::size_t b, std::size_t length, T* row) {
  Certificate out;
  bool forbidden = false;
  T range = 0;
  for (std::size_t t = 1; t < length; ++t) {
    const Prepared<T> matrix = prepared_of(in, prepared, b, t);
    forbidden |= matrix.forbidden;
    range = matrix.range > range ? matrix.range : range;
    if (in.step_stride == 0) break;
  }
  if (!forbidden && range <= harmless_range<T>) return out;
  out.wanted = true;
  T unary_range = 0;
  for (std::size_t t = 0; t < length; ++t) {
    const T high = unary_row(in, b, t, t + 1 == length, row);
    T low = high;
    for (std::size_t k = 0; k < in.states; ++k) low = row[k] > -infinity<T> && row[k] < low ? row[k] : low;
    if (high - low > unary_range) unary_range = high - low;
  }
  const double exponent = __builtin_log(double(smallest_normal<T>)) + double(range) + double(unary_range) +
                          __builtin_log(double(in.states));
  out.hopeless = !(exponent < -7);
  out.threshold = out.hopeless ? 0 : __builtin_exp(exponent);
  return out;
}

/// u becomes exp(u - shift) where `real`, else 1 on the states.
template <class T>
TAPESTRY_INLINE void exponentiate_row(T* row, std::size_t states, T shift) {
  for (std::size_t k = 0; k < states; k += lanes<T>) store<T>(row + k, exp_nonpositive(load<T>(row + k) - shift));
}

template <class T, std::size_t rows, std::size_t vectors>
TAPESTRY_INLINE void forward_panel(const T* previous, const T* matrix, const T* unary, const T* factor, T* alpha,
                                   std::size_t states, std::size_t width, Vec<T> (&sums)[rows]) {
  Vec<T> acc[rows][vectors];
  multiply<T, rows, vectors>(previous, width, matrix, width, states, acc);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t v = 0; v < vectors; ++v) {
      const Vec<T> x = acc[r][v] * load<T>(unary + r * width + v * lanes<T>) * factor[r];
      store<T>(alpha + r * width + v * lanes<T>, x);
      sums[r] += x;
    }
}

template <class T, std::size_t rows>
void forward_block(const ChainInput<T>& in, const T* prepared, std::size_t first, ChainBlock<T> block,
                   T* log_partition) {
  const std::size_t K = in.states, width = block.width;
  std::size_t length[rows], longest = 0;
  Certificate certificates[rows];
  bool certify = false;
  double shift[rows], product[rows];
  Vec<T> smallest[rows];
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t b = first + r;
    length[r] = b < in.batch ? length_of(in, b) : 0;
    shift[r] = 0;
    product[r] = 1;
    smallest[r] = splat<T>(infinity<T>);
    if (length[r] > 0) {
      certificates[r] = certificate(in, prepared, b, length[r], block.alpha);
      log_partition[b] = T(0);
    } else if (b < in.batch) {
      log_partition[b] = T(0);
    }
    block.mode[r] = length[r] == 0 ? T(0) : certificates[r].hopeless ? T(2) : T(1);
    if (certificates[r].hopeless) length[r] = 0;
    certify |= certificates[r].wanted;
    longest = length[r] > longest ? length[r] : longest;
  }
  for (std::size_t t = 0; t < longest; ++t) {
    T* alpha = block.alpha_at(t, 0);
    T* unary = block.unary_at(t, 0);
    for (std::size_t r = 0; r < rows; ++r) {
      T* row = unary + r * width;
      if (t < length[r]) {
        T most = unary_row(in, first + r, t, t + 1 == length[r], row);
        if (most == -infinity<T>) most = T(0);
        exponentiate_row(row, K, most);
        shift[r] += double(most);
      } else {
        for (std::size_t k = 0; k < width; ++k) row[k] = k < K ? T(1) : T(0);
      }
    }
    Vec<T> sums[rows];
    for (std::size_t r = 0; r < rows; ++r) sums[r] = Vec<T>{};
    if (t == 0) {
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t k = 0; k < width; k += lanes<T>) {
          const Vec<T> x = load<T>(unary + r * width + k);
          store<T>(alpha + r * width + k, x);
          sums[r] += x;
        }
    } else {
      const Prepared<T> matrix = prepared_of(in, prepared, first, t);
      const T* previous = block.alpha_at(t - 1, 0);
      const T* factor = &block.inverse_at(t - 1, 0);
      std::size_t k = 0;
      if constexpr (panel_vectors > 1)
        for (; k + panel_vectors * lanes<T> <= width; k += panel_vectors * lanes<T>)
          forward_panel<T, rows, panel_vectors>(previous, matrix.forward + k, unary + k, factor, alpha + k, K, width,
                                                sums);
      for (; k < width; k += lanes<T>)
        forward_panel<T, rows, 1>(previous, matrix.forward + k, unary + k, factor, alpha + k, K, width, sums);
      for (std::size_t r = 0; r < rows; ++r)
        if (t < length[r]) shift[r] += double(matrix.shift);
    }
    for (std::size_t r = 0; r < rows; ++r) {
      const T sum = sum_lanes<T>(sums[r])[0];
      block.inverse_at(t, r) = sum == T(0) ? T(0) : T(1) / sum;
      if (t >= length[r]) continue;
      product[r] *= double(sum);
      if (product[r] < 1e-200 || product[r] > 1e200) {
        shift[r] += __builtin_log(product[r]);
        product[r] = 1;
      }
      if (t + 1 == length[r]) log_partition[first + r] = T(shift[r] + __builtin_log(product[r]));
    }
    if (certify)
      for (std::size_t r = 0; r < rows; ++r)
        if (certificates[r].wanted && t < length[r])
          for (std::size_t k = 0; k < width; k += lanes<T>) {
            const Vec<T> x = load<T>(alpha + r * width + k);
            smallest[r] = vmin<T>(x == T(0) ? splat<T>(infinity<T>) : x, smallest[r]);
          }
  }
  for (std::size_t r = 0; r < rows; ++r) {
    if (certificates[r].wanted && double(-max_lanes<T>(-smallest[r])[0]) < certificates[r].threshold)
      block.mode[r] = T(2);
    if (block.mode_of(r) == ChainMode::logarithmic) {
      // The whole row is rewritten, with what it was not: logarithms.
      chain_log_forward(in, first + r, block, r, log_partition + first + r);
    }
    if (first + r < in.batch && log_partition[first + r] == -infinity<T>) block.mode[r] = T(0);
  }
}

template <class T>
void forward(const ChainInput<T>& in, const T* prepared, std::size_t first, std::size_t last, bool keep, T* saved,
             T* log_partition) {
  const ChainLayout layout = chain_layout(in);
  for (std::size_t n = first; n < last; ++n) {
    T* base = saved + (keep ? (n - first) * layout.saved_block : 0);
    const ChainBlock<T> block(base, layout.rows, in.states, keep ? in.steps : 2);
    if (layout.rows == 8)
      forward_block<T, 8>(in, prepared, n * 8, block, log_partition);
    else if (layout.rows == 4)
      forward_block<T, 4>(in, prepared, n * 4, block, log_partition);
    else
      forward_block<T, 1>(in, prepared, n, block, log_partition);
  }
}

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

template <class T>
void backward(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, std::size_t first,
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

template <class T>
void shared_gradient(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* scratch,
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
void step_gradient(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* scratch,
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
    for (std::size_t n = begin_block; n < end_block; ++n) {
      const ChainBlock<T> block = block_of(in, layout, saved, n * layout.rows);
      const std::size_t longest = longest_scaled(in, block, n * layout.rows);
      add_scaled(in, block, scratch + n * layout.scratch_block, begin, end < longest ? end : longest, sum);
    }
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j) out[i * K + j] = sum[i * width + j] * matrix.forward[i * width + j];
    for (std::size_t n = begin_block; n < end_block; ++n) {
      const ChainBlock<T> block = block_of(in, layout, saved, n * layout.rows);
      add_logarithmic(in, block, n * layout.rows, g, scratch + n * layout.scratch_block, begin, end, out);
    }
  }
}

template <class T>
constexpr ChainKernels<T> table() {
  ChainKernels<T> t{};
  t.layout = chain_layout<T>;
  t.prepare = prepare<T>;
  t.forward = forward<T>;
  t.backward = backward<T>;
  t.shared_gradient = shared_gradient<T>;
  t.step_gradient = step_gradient<T>;
  t.curvature = chain_curvature<T>;
  t.entropy = chain_entropy<T>;
  t.best = chain_best<T>;
  t.best_k = chain_best_k<T>;
  t.sample = chain_sample<T>;
  return t;
}

}  // namespace

template <>
const ChainKernels<float>& kernels() {
  static constexpr ChainKernels<float> t = table<float>();
  return t;
}
template <>
const ChainKernels<double>& kernels() {
  static constexpr ChainKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
