#pragma once

#include <tapestry/autodiff/kernels/math.hpp>

// What the kernels of structured inference need of vectors beyond autodiff/kernels: reductions that stay
// in registers, an exponential for scaled potentials, and the small product that all recursions consist of.
namespace tapestry::detail::TAPESTRY_ARCH {

template <class T>
TAPESTRY_INLINE std::size_t padded(std::size_t n) {
  return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

/// Exchanges groups of `step` neighbouring lanes.
template <int step, class V>
TAPESTRY_INLINE V swap_lanes(V v) {
  constexpr std::size_t n = sizeof(V) / sizeof(v[0]);
  if constexpr (n == 16) {
    if constexpr (step == 8) return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    if constexpr (step == 4) return __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    if constexpr (step == 2) return __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    if constexpr (step == 1) return __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
  } else if constexpr (n == 8) {
    if constexpr (step == 4) return __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
    if constexpr (step == 2) return __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
    if constexpr (step == 1) return __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6);
  } else if constexpr (n == 4) {
    if constexpr (step == 2) return __builtin_shufflevector(v, v, 2, 3, 0, 1);
    if constexpr (step == 1) return __builtin_shufflevector(v, v, 1, 0, 3, 2);
  } else {
    return __builtin_shufflevector(v, v, 1, 0);
  }
}

/// The sum of all lanes, in all lanes.
template <class T>
TAPESTRY_INLINE Vec<T> sum_lanes(Vec<T> v) {
  if constexpr (lanes<T> >= 16) v += swap_lanes<8>(v);
  if constexpr (lanes<T> >= 8) v += swap_lanes<4>(v);
  if constexpr (lanes<T> >= 4) v += swap_lanes<2>(v);
  return v + swap_lanes<1>(v);
}
template <class T>
TAPESTRY_INLINE Vec<T> max_lanes(Vec<T> v) {
  if constexpr (lanes<T> >= 16) v = vmax<T>(v, swap_lanes<8>(v));
  if constexpr (lanes<T> >= 8) v = vmax<T>(v, swap_lanes<4>(v));
  if constexpr (lanes<T> >= 4) v = vmax<T>(v, swap_lanes<2>(v));
  return vmax<T>(v, swap_lanes<1>(v));
}

/// The smallest normal number, and below what exponent exp_nonpositive gives zero.
template <class T>
inline constexpr T smallest_normal = sizeof(T) == 4 ? T(1.17549435e-38) : T(2.2250738585072014e-308);
template <class T>
inline constexpr T lowest_exponent = sizeof(T) == 4 ? T(-87.0) : T(-708.0);

/// One element of memory in all lanes: a load, where splat() has to add a zero.
template <class T>
TAPESTRY_INLINE Vec<T> broadcast(const T* p) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_set1_ps(*p);
  else
    return (Vec<T>)_mm512_set1_pd(*p);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm256_broadcast_ss(p);
  else
    return (Vec<T>)_mm256_broadcast_sd(p);
#else
  return splat<T>(*p);
#endif
}

/// e^x for x <= 0 (or NaN); zero where the result would be denormal.
TAPESTRY_INLINE Vec<float> exp_nonpositive(Vec<float> x) {
  const Vec<float> shifted = x * 1.44269504088896341f + 12582912.f;
  const Vec<float> k = shifted - 12582912.f;
  Vec<float> r = x - k * 0.693359375f;
  r = r - k * -2.12194440e-4f;
  Vec<float> p = splat<float>(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.f;
  typedef std::uint32_t Bits __attribute__((vector_size(vector_bytes)));  // wraps around, unlike Mask
  Bits bits, exponent;
  std::memcpy(&bits, &p, sizeof p);
  std::memcpy(&exponent, &shifted, sizeof p);
  bits += exponent << 23;
  std::memcpy(&p, &bits, sizeof p);
  return x < lowest_exponent<float> ? splat<float>(0.f) : p;
}
TAPESTRY_INLINE Vec<double> exp_nonpositive(Vec<double> x) {
  const Vec<double> shifted = x * 1.44269504088896340736 + 6755399441055744.0;
  const Vec<double> k = shifted - 6755399441055744.0;
  Vec<double> r = x - k * 6.93147180369123816490e-01;
  r = r - k * 1.90821492927058770002e-10;
  Vec<double> p = splat<double>(1.0 / 6227020800.0);
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = (p * r) * r + r + 1.0;
  typedef std::uint64_t Bits __attribute__((vector_size(vector_bytes)));  // wraps around, unlike Mask
  Bits bits, exponent;
  std::memcpy(&bits, &p, sizeof p);
  std::memcpy(&exponent, &shifted, sizeof p);
  bits += exponent << 52;
  std::memcpy(&p, &bits, sizeof p);
  return x < lowest_exponent<double> ? splat<double>(0.0) : p;
}

/// 1 / x, and 0 for 0.
template <class T>
TAPESTRY_INLINE Vec<T> inverse_or_zero(Vec<T> x) {
  const Vec<T> inverse = T(1) / x;
  return x == T(0) ? splat<T>(T(0)) : inverse;
}

/// acc[r][v] = sum over i < n of a[r * a_stride + i] * x[i * x_stride + v * lanes]. The order of the sum does not
/// depend on the number of rows.
template <class T, std::size_t rows, std::size_t vectors>
TAPESTRY_INLINE void multiply(const T* a, std::size_t a_stride, const T* x, std::size_t x_stride, std::size_t n,
                              Vec<T> (&acc)[rows][vectors]) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t v = 0; v < vectors; ++v) acc[r][v] = Vec<T>{};
  for (std::size_t i = 0; i < n; ++i) {
    Vec<T> column[vectors];
    for (std::size_t v = 0; v < vectors; ++v) column[v] = load<T>(x + i * x_stride + v * lanes<T>);
    for (std::size_t r = 0; r < rows; ++r) {
      const Vec<T> factor = broadcast<T>(a + r * a_stride + i);
      for (std::size_t v = 0; v < vectors; ++v) acc[r][v] += factor * column[v];
    }
  }
}

/// How many vectors a panel of the product above has: as many as registers allow.
#if defined(__AVX512F__)
inline constexpr std::size_t panel_vectors = 2;
#else
inline constexpr std::size_t panel_vectors = 1;
#endif

}  // namespace tapestry::detail::TAPESTRY_ARCH
