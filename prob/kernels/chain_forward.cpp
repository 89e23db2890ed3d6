#include <tapestry/prob/kernels/chain_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

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
  double total[rows], shift[rows], product[rows];  // of all steps but the last few, and of these
  Vec<T> smallest[rows];
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t b = first + r;
    length[r] = b < in.batch ? length_of(in, b) : 0;
    total[r] = shift[r] = 0;
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
      if (ends_sum(t)) {
        total[r] += shift[r];
        shift[r] = 0;
      }
      if (t + 1 == length[r]) log_partition[first + r] = T(total[r] + (shift[r] + __builtin_log(product[r])));
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
}  // namespace

template <class T>
void chain_forward(const ChainInput<T>& in, const T* prepared, std::size_t first, std::size_t last, bool keep, T* saved,
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

#define TAPESTRY_INSTANTIATE(T) \
  template void chain_forward(const ChainInput<T>&, const T*, std::size_t, std::size_t, bool, T*, T*);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail::TAPESTRY_ARCH
