#pragma once

#include <tapestry/prob/kernels/grid_parts.hpp>

// One row of parallel mean field where all neighbours are alike and nothing is damped, for few states: from the
// neighbours to the result in registers, so that a row's logits never are in memory. The sums are in the order of the
// general rows.
namespace tapestry::detail::TAPESTRY_ARCH {

// A loop that is unrolled whatever the compiler thinks of its size: what it indexes is registers.
#define TAPESTRY_EACH(i, n) _Pragma("GCC unroll 16") for (std::size_t i = 0; i < (n); ++i)

template <class T>
inline constexpr T largest_number = sizeof(T) == 4 ? T(3.40282347e38) : T(1.7976931348623157e308);

#if defined(__AVX512F__)
/// The last element of a and all but the last of b; all but the first of a and the first of b.
template <class T>
TAPESTRY_INLINE Vec<T> one_before(Vec<T> a, Vec<T> b) {
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_mask_alignr_epi32((__m512i)b, __mmask16(-1), (__m512i)b, (__m512i)a, 15);
  else
    return (Vec<T>)_mm512_mask_alignr_epi64((__m512i)b, __mmask8(-1), (__m512i)b, (__m512i)a, 7);
}
template <class T>
TAPESTRY_INLINE Vec<T> one_behind(Vec<T> a, Vec<T> b) {
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_mask_alignr_epi32((__m512i)b, __mmask16(-1), (__m512i)b, (__m512i)a, 1);
  else
    return (Vec<T>)_mm512_mask_alignr_epi64((__m512i)b, __mmask8(-1), (__m512i)b, (__m512i)a, 1);
}
#endif

/// sum[v] = the sum over the neighbours of the v-th vector of pixels.
template <class T, std::size_t V>
TAPESTRY_INLINE void sum_neighbours(const GridPlanes& p, const T* at, Vec<T> (&sum)[V]) {
#if defined(__AVX512F__)
  // Loads that cross a cache line cost twice: the vectors to the left and right are made of whole ones.
  Vec<T> whole[V + 2];
  TAPESTRY_EACH (v, V + 2) whole[v] = load<T>(at + v * lanes<T> - lanes<T>);
  TAPESTRY_EACH (v, V) sum[v] = one_before<T>(whole[v], whole[v + 1]) + one_behind<T>(whole[v + 1], whole[v + 2]);
#else
  TAPESTRY_EACH (v, V) sum[v] = load<T>(at + v * lanes<T> - 1) + load<T>(at + v * lanes<T> + 1);
#endif
  TAPESTRY_EACH (v, V) sum[v] += load<T>(at - p.row + v * lanes<T>) + load<T>(at + p.row + v * lanes<T>);
}

/// The columns between the planes of two states belong to both.
template <class T>
TAPESTRY_INLINE GridPlanes mean_field_planes(const GridShape& grid) {
  GridPlanes p = grid_planes<T>(grid);
  p.plane -= p.margin;
  p.row = grid.states * p.plane + p.margin;
  p.total = (grid.height + 2) * p.row;
  return p;
}

/// Zeros left and right of a row's pixels: neighbours that do not exist.
template <class T>
TAPESTRY_INLINE void clear_sides(const GridShape& grid, const GridPlanes& p, T* row) {
  const std::size_t end = padded<T>(grid.width);
  for (std::size_t k = 0; k < grid.states; ++k) {
    store<T>(row + k * p.plane - lanes<T>, Vec<T>{});
    // A vector as wide as the margin is the next state's left side, too.
    if (lanes<T> < p.margin || k + 1 == grid.states) store<T>(row + k * p.plane + end, Vec<T>{});
  }
}

/// A vector of a row of planes, of which n pixels are within the grid. What lies right of it must stay zero: it is a
/// neighbour.
template <class T>
TAPESTRY_INLINE void store_pixels(T* to, Vec<T> value, std::size_t n) {
  if (n < lanes<T>) store<T>(to, Vec<T>{});
  store_partial<T>(to, value, n);
}

/// acc[v][k] = sum over l of matrix[k, l] * the neighbours' sum in state l, which is written to `sums` unless null.
template <class T, std::size_t K, std::size_t V>
TAPESTRY_INLINE void neighbour_product(const GridPlanes& p, const T* matrix, const T* from, T* sums,
                                       Vec<T> (&acc)[V][K]) {
  TAPESTRY_EACH (v, V)
    TAPESTRY_EACH (k, K) acc[v][k] = Vec<T>{};
  for (std::size_t l = 0; l < K; ++l) {
    Vec<T> sum[V];
    sum_neighbours<T, V>(p, from + l * p.plane, sum);
    if (sums != nullptr)
      TAPESTRY_EACH (v, V) store<T>(sums + l * p.plane + v * lanes<T>, sum[v]);
    TAPESTRY_EACH (k, K) {
      const Vec<T> factor = broadcast<T>(matrix + k * K + l);
      TAPESTRY_EACH (v, V) acc[v][k] += factor * sum[v];
    }
  }
}

/// e^x for n consecutive vectors x <= 0, zero where the result would be denormal, in float with a relative error of
/// (2.2 + 0.14 |x|) 1e-7, or (2.2 + 0.8 |x|) 1e-7 where products are rounded: x is not reduced in two parts, as what is
/// far below zero is small beside e^0.
template <std::size_t n>
TAPESTRY_INLINE void interleaved_exponentials(Vec<float>* x) {
  typedef std::uint32_t Unsigned __attribute__((vector_size(vector_bytes)));  // wraps around, unlike Mask
  Vec<float> shifted[n], r[n], p[n];
  TAPESTRY_EACH (k, n) shifted[k] = x[k] * 1.44269504088896341f + 12582912.f;
  TAPESTRY_EACH (k, n) {
    const Vec<float> exponent = shifted[k] - 12582912.f;
    r[k] = x[k] * 1.44269504088896341f - exponent;
  }
  // 2^r on [-1/2, 1/2] with a relative error of 1e-7 (minimax, 1 at 0).
  TAPESTRY_EACH (k, n) p[k] = r[k] * 0.00133158348f + 0.00967232417f;
  TAPESTRY_EACH (k, n) p[k] = p[k] * r[k] + 0.0555058233f;
  TAPESTRY_EACH (k, n) p[k] = p[k] * r[k] + 0.240222186f;
  TAPESTRY_EACH (k, n) p[k] = p[k] * r[k] + 0.693147004f;
  TAPESTRY_EACH (k, n) p[k] = p[k] * r[k] + 1.f;
  TAPESTRY_EACH (k, n) {
    Unsigned value, exponent;
    std::memcpy(&value, &p[k], sizeof value);
    std::memcpy(&exponent, &shifted[k], sizeof exponent);
    value += exponent << 23;
    std::memcpy(&p[k], &value, sizeof value);
    x[k] = x[k] < lowest_exponent<float> ? Vec<float>{} : p[k];
  }
}
/// The same for all; four chains at once hide each other's latency, more would not be in registers.
template <std::size_t K>
TAPESTRY_INLINE void exponentials(Vec<float>* x) {
  constexpr std::size_t n = K < 4 ? K : 4;
  interleaved_exponentials<n>(x);
  if constexpr (K > n) exponentials<K - n>(x + n);
}
template <std::size_t K>
TAPESTRY_INLINE void exponentials(Vec<double>* x) {
  TAPESTRY_EACH (k, K) x[k] = exp_nonpositive(x[k]);
}

/// The largest and the sum of x, by halves: the chains are short.
template <class T, std::size_t K, std::size_t begin = 0>
TAPESTRY_INLINE Vec<T> largest(const Vec<T>* x) {
  if constexpr (K == 1)
    return x[begin];
  else
    return vmax<T>(largest<T, K / 2, begin>(x), largest<T, K - K / 2, begin + K / 2>(x));
}
template <class T, std::size_t K, std::size_t begin = 0>
TAPESTRY_INLINE Vec<T> total(const Vec<T>* x) {
  if constexpr (K == 1)
    return x[begin];
  else
    return total<T, K / 2, begin>(x) + total<T, K - K / 2, begin + K / 2>(x);
}

/// Less than what this gives are only smaller numbers and -inf, which stays -inf if this is subtracted.
template <class T, std::size_t K>
TAPESTRY_INLINE Vec<T> largest_or_finite(const Vec<T>* x) {
  return vmax<T>(largest<T, K>(x), splat<T>(-largest_number<T>));
}

/// Logits become probabilities. Where all states are impossible, all are zero.
template <class T, std::size_t K>
TAPESTRY_INLINE void softmax(Vec<T> (&x)[K]) {
  const Vec<T> most = largest_or_finite<T, K>(x);
  TAPESTRY_EACH (k, K) x[k] -= most;
  exponentials<K>(x);
  const Vec<T> inverse = inverse_or_zero<T>(total<T, K>(x));
  TAPESTRY_EACH (k, K) x[k] *= inverse;
}

/// V vectors of a row of planes, `pixels` of which are within the grid.
template <class T, std::size_t K, std::size_t V>
TAPESTRY_INLINE void store_states(const GridPlanes& p, const Vec<T> (&x)[V][K], std::size_t pixels, T* to) {
  if (pixels >= V * lanes<T>) {
    TAPESTRY_EACH (v, V)
      TAPESTRY_EACH (k, K) store<T>(to + k * p.plane + v * lanes<T>, x[v][k]);
  } else {
    TAPESTRY_EACH (v, V)
      TAPESTRY_EACH (k, K) store_pixels<T>(to + k * p.plane + v * lanes<T>, x[v][k], pixels - v * lanes<T>);
  }
}

/// q = softmax(unary), n pixels of it.
template <class T, std::size_t K>
TAPESTRY_INLINE void fused_start(const GridPlanes& p, const T* unary, std::size_t pixels, T* q) {
  Vec<T> x[1][K];
  TAPESTRY_EACH (k, K) x[0][k] = load<T>(unary + k * p.plane);
  softmax<T, K>(x[0]);
  store_states<T, K, 1>(p, x, pixels, q);
}
template <class T, std::size_t K>
void fused_start_row(const GridPlanes& planes, const T* unary, std::size_t width, T* q) {
  const GridPlanes p = planes;  // what is not in memory is not read again after each store
  for (std::size_t x = 0; x < width; x += lanes<T>) fused_start<T, K>(p, unary + x, width - x, q + x);
}

/// Fetches what the next call reads or writes into the second-level cache: the rows of planes are too short for the
/// processor to see that they go on.
template <class T, std::size_t K, std::size_t V, int writes>
TAPESTRY_INLINE void prefetch(const GridPlanes& p, const T* ahead) {
  constexpr std::size_t line = 64 / sizeof(T), lines = (V * lanes<T> + line - 1) / line;
  TAPESTRY_EACH (k, K)
    TAPESTRY_EACH (i, lines) __builtin_prefetch(ahead + k * p.plane + i * line, writes, 2);
}

/// V vectors of pixels of one step, `pixels` of which are within the grid.
template <class T, std::size_t K, std::size_t V>
TAPESTRY_INLINE void fused_step(const GridPlanes& p, const T* forward, const T* unary, const T* q, std::size_t pixels,
                                const T* ahead, T* next) {
  Vec<T> acc[V][K];
  prefetch<T, K, V, 1>(p, ahead);
  neighbour_product<T, K, V>(p, forward, q, nullptr, acc);
  TAPESTRY_EACH (v, V) {
    TAPESTRY_EACH (k, K) acc[v][k] += load<T>(unary + k * p.plane + v * lanes<T>);
    softmax<T, K>(acc[v]);
  }
  store_states<T, K, V>(p, acc, pixels, next);
}

template <class T, std::size_t K>
void fused_step_row(const GridPlanes& planes, const T* forward, const T* unary, const T* q, std::size_t width,
                    const T* ahead, T* next) {
  const GridPlanes p = planes;
  std::size_t x = 0;
  if constexpr (panel_vectors > 1)
    for (; x + lanes<T> < width; x += panel_vectors * lanes<T>)
      fused_step<T, K, panel_vectors>(p, forward, unary + x, q + x, width - x, ahead + x, next + x);
  for (; x < width; x += lanes<T>) fused_step<T, K, 1>(p, forward, unary + x, q + x, width - x, ahead + x, next + x);
}

/// The last step, a vector of pixels: log q too, whose states lie `stride` apart.
template <class T, std::size_t K>
TAPESTRY_INLINE void fused_last_step(const GridPlanes& p, const T* forward, const T* unary, const T* q,
                                     std::size_t pixels, T* next, T* log_next, std::size_t stride) {
  Vec<T> acc[1][K], shifted[K];
  neighbour_product<T, K, 1>(p, forward, q, nullptr, acc);
  TAPESTRY_EACH (k, K) acc[0][k] += load<T>(unary + k * p.plane);
  const Vec<T> most = largest_or_finite<T, K>(acc[0]);
  TAPESTRY_EACH (k, K) shifted[k] = acc[0][k] -= most;
  exponentials<K>(acc[0]);
  const Vec<T> sum = total<T, K>(acc[0]), inverse = inverse_or_zero<T>(sum), normaliser = vlog(sum);
  TAPESTRY_EACH (k, K) {
    acc[0][k] *= inverse;
    store_partial<T>(log_next + k * stride, shifted[k] == -infinity<T> ? shifted[k] : shifted[k] - normaliser, pixels);
  }
  store_states<T, K, 1>(p, acc, pixels, next);
}

template <class T, std::size_t K>
void fused_last_step_row(const GridPlanes& planes, const T* forward, const T* unary, const T* q, std::size_t width,
                         T* next, T* log_next, std::size_t stride) {
  const GridPlanes p = planes;
  for (std::size_t x = 0; x < width; x += lanes<T>)
    fused_last_step<T, K>(p, forward, unary + x, q + x, width - x, next + x, log_next + x, stride);
}

/// V vectors of pixels of one step back: the gradient of q from that of the neighbours' next logits (whose sums are
/// kept), and through the softmax that q is of.
template <class T, std::size_t K, std::size_t V>
TAPESTRY_INLINE void fused_step_backward(const GridPlanes& p, const T* backward, const T* q, const T* grad_next_logits,
                                         std::size_t pixels, const T* ahead, T* sums, T* grad_logits, T* grad_unary) {
  Vec<T> acc[V][K];
  prefetch<T, K, V, 0>(p, ahead);
  neighbour_product<T, K, V>(p, backward, grad_next_logits, sums, acc);
  TAPESTRY_EACH (v, V) {
    const std::size_t at = v * lanes<T>;
    Vec<T> mean{};
    TAPESTRY_EACH (k, K) mean += load<T>(q + k * p.plane + at) * acc[v][k];
    TAPESTRY_EACH (k, K) {
      acc[v][k] = load<T>(q + k * p.plane + at) * (acc[v][k] - mean);
      T* u = grad_unary + k * p.plane + at;
      store<T>(u, load<T>(u) + acc[v][k]);
    }
  }
  store_states<T, K, V>(p, acc, pixels, grad_logits);
}

template <class T, std::size_t K>
void fused_step_backward_row(const GridPlanes& planes, const T* backward, const T* q, const T* grad_next_logits,
                             std::size_t width, const T* ahead, T* sums, T* grad_logits, T* grad_unary) {
  const GridPlanes p = planes;
  std::size_t x = 0;
  if constexpr (panel_vectors > 1)
    for (; x + lanes<T> < width; x += panel_vectors * lanes<T>)
      fused_step_backward<T, K, panel_vectors>(p, backward, q + x, grad_next_logits + x, width - x, ahead + x, sums + x,
                                               grad_logits + x, grad_unary + x);
  for (; x < width; x += lanes<T>)
    fused_step_backward<T, K, 1>(p, backward, q + x, grad_next_logits + x, width - x, ahead + x, sums + x,
                                 grad_logits + x, grad_unary + x);
}

/// pairs[n, l] += sum over `rows` rows of pixels of a[n] b[l], lane by lane, `height` rows n and `width` rows l at a
/// time.
template <class T, std::size_t height, std::size_t width>
TAPESTRY_INLINE void correlate(const T* a, std::size_t a_stride, std::size_t a_row, const T* b, std::size_t b_stride,
                               std::size_t b_row, std::size_t pixels, std::size_t rows, T* pairs,
                               std::size_t pair_stride) {
  Vec<T> acc[height][width];
  TAPESTRY_EACH (n, height)
    TAPESTRY_EACH (l, width) acc[n][l] = load<T>(pairs + (n * pair_stride + l) * lanes<T>);
  for (std::size_t y = 0; y < rows; ++y)
    for (std::size_t x = 0; x < pixels; x += lanes<T>) {
      Vec<T> columns[width];
      TAPESTRY_EACH (l, width) columns[l] = load<T>(b + y * b_row + l * b_stride + x);
      TAPESTRY_EACH (n, height) {
        const Vec<T> value = load<T>(a + y * a_row + n * a_stride + x);
        TAPESTRY_EACH (l, width) acc[n][l] += value * columns[l];
      }
    }
  TAPESTRY_EACH (n, height)
    TAPESTRY_EACH (l, width) store<T>(pairs + (n * pair_stride + l) * lanes<T>, acc[n][l]);
}

/// How many accumulators a side the product above has.
#if defined(__AVX512F__)
inline constexpr std::size_t correlated = 4;
#else
inline constexpr std::size_t correlated = 3;
#endif

/// All K * K pairs, in pieces of nearly the same size.
template <class T, std::size_t K, std::size_t piece = 0>
void correlate_states(const GridPlanes& p, const T* sums, const T* q, std::size_t width, std::size_t rows, T* pairs) {
  constexpr std::size_t side = (K + correlated - 1) / correlated, i = piece / side, j = piece % side;
  constexpr std::size_t n = i * K / side, l = j * K / side;
  correlate<T, (i + 1) * K / side - n, (j + 1) * K / side - l>(sums + n * p.plane, p.plane, K * p.plane,
                                                               q + l * p.plane, p.plane, p.row, width, rows,
                                                               pairs + (n * K + l) * lanes<T>, K);
  if constexpr (piece + 1 < side * side) correlate_states<T, K, piece + 1>(p, sums, q, width, rows, pairs);
}

/// The functions above for a number of states; null where there are none.
template <class T>
struct FusedRows {
  void (*start)(const GridPlanes& p, const T* unary, std::size_t width, T* q);
  void (*step)(const GridPlanes& p, const T* forward, const T* unary, const T* q, std::size_t width, const T* ahead,
               T* next);
  void (*last_step)(const GridPlanes& p, const T* forward, const T* unary, const T* q, std::size_t width, T* next,
                    T* log_next, std::size_t stride);
  void (*step_backward)(const GridPlanes& p, const T* backward, const T* q, const T* grad_next_logits,
                        std::size_t width, const T* ahead, T* sums, T* grad_logits, T* grad_unary);
  void (*correlate)(const GridPlanes& p, const T* sums, const T* q, std::size_t width, std::size_t rows, T* pairs);
};

template <class T, std::size_t K>
constexpr FusedRows<T> fused_rows() {
  return {fused_start_row<T, K>, fused_step_row<T, K>, fused_last_step_row<T, K>, fused_step_backward_row<T, K>,
          correlate_states<T, K>};
}

template <class T>
FusedRows<T> fused_rows(std::size_t states, std::size_t directions, T damping) {
  if (directions != 1 || damping != T(0)) return {};
  switch (states) {
    case 2:
      return fused_rows<T, 2>();
    case 3:
      return fused_rows<T, 3>();
    case 4:
      return fused_rows<T, 4>();
    case 5:
      return fused_rows<T, 5>();
    case 6:
      return fused_rows<T, 6>();
    case 7:
      return fused_rows<T, 7>();
    case 8:
      return fused_rows<T, 8>();
    default:
      return {};
  }
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
