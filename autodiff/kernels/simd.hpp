#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX__)
#include <immintrin.h>
#endif

// Vectors of the width of the instruction set that a kernel file is compiled for, on the compilers' vector extension:
// + - * / and comparisons (which give masks) are theirs; loads, stores, select and horizontal sums are here.
// For kernel files only (see dispatch.hpp).
namespace tapestry::detail::TAPESTRY_ARCH {

#if defined(__AVX512F__)
inline constexpr std::size_t vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr std::size_t vector_bytes = 32;
#else
inline constexpr std::size_t vector_bytes = 16;
#endif

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(vector_bytes)));
  typedef std::int32_t mask __attribute__((vector_size(vector_bytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(vector_bytes)));
  typedef std::int64_t mask __attribute__((vector_size(vector_bytes)));
};

template <class T>
using Vec = typename VectorOf<T>::type;
template <class T>
using Mask = typename VectorOf<T>::mask;
/// Elements of T in one vector.
template <class T>
inline constexpr std::size_t lanes = vector_bytes / sizeof(T);

// With a sanitizer's checks in every operation, forced inlining would make functions that compile for minutes.
#if defined(TAPESTRY_SANITIZED)
#define TAPESTRY_ALWAYS_INLINE
#else
#define TAPESTRY_ALWAYS_INLINE __attribute__((always_inline))
#endif
#define TAPESTRY_INLINE static inline TAPESTRY_ALWAYS_INLINE

template <class T>
TAPESTRY_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
TAPESTRY_INLINE void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof v);
}
template <class T>
TAPESTRY_INLINE Vec<T> splat(T x) {
  return Vec<T>{} + x;
}
#if defined(__AVX2__) && !defined(__AVX512F__)
/// All bits set in the first n of eight lanes.
TAPESTRY_INLINE __m256i first_lanes(std::size_t n) {
  static constexpr std::int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
  __m256i lanes_set;
  std::memcpy(&lanes_set, mask + 8 - n, sizeof lanes_set);
  return lanes_set;
}
#endif

/// The first n <= lanes elements; the rest is `fill`. Reads no further than p + n.
template <class T>
TAPESTRY_INLINE Vec<T> load_partial(const T* p, std::size_t n, T fill = T(0)) {
  if (n >= lanes<T>) return load<T>(p);
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_mask_loadu_ps((__m512)splat<T>(fill), __mmask16((1u << n) - 1), p);
  else
    return (Vec<T>)_mm512_mask_loadu_pd((__m512d)splat<T>(fill), __mmask8((1u << n) - 1), p);
#elif defined(__AVX2__)
  const __m256i mask = first_lanes(n * sizeof(T) / 4);
  if constexpr (sizeof(T) == 4)
    return (Mask<T>)mask ? (Vec<T>)_mm256_maskload_ps(p, mask) : splat<T>(fill);
  else
    return (Mask<T>)mask ? (Vec<T>)_mm256_maskload_pd(p, mask) : splat<T>(fill);
#else
  T buffer[lanes<T>];
  for (std::size_t i = 0; i < lanes<T>; ++i) buffer[i] = i < n ? p[i] : fill;
  return load<T>(buffer);
#endif
}
/// The first n <= lanes elements of v to p.
template <class T>
TAPESTRY_INLINE void store_partial(T* p, Vec<T> v, std::size_t n) {
  if (n >= lanes<T>) return store<T>(p, v);
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
  else
    _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), (__m512d)v);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    _mm256_maskstore_ps(p, first_lanes(n), (__m256)v);
  else
    _mm256_maskstore_pd(p, first_lanes(2 * n), (__m256d)v);
#else
  T buffer[lanes<T>];
  store<T>(buffer, v);
  for (std::size_t i = 0; i < n; ++i) p[i] = buffer[i];
#endif
}
#if defined(__AVX2__)
TAPESTRY_INLINE float sum_of_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
TAPESTRY_INLINE double sum_of_lanes(__m256d v) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}
#endif
#if defined(__AVX512F__)
TAPESTRY_INLINE double sum_of_lanes(__m512d v) {
  return sum_of_lanes(__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7));
}
TAPESTRY_INLINE float sum_of_lanes(__m512 v) {
  const __m512d pairs = (__m512d)v;
  return sum_of_lanes((__m256)__builtin_shufflevector(pairs, pairs, 0, 1, 2, 3) +
                      (__m256)__builtin_shufflevector(pairs, pairs, 4, 5, 6, 7));
}
#endif

template <class T>
TAPESTRY_INLINE T horizontal_sum(Vec<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return sum_of_lanes((__m512)v);
  else
    return sum_of_lanes((__m512d)v);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return sum_of_lanes((__m256)v);
  else
    return sum_of_lanes((__m256d)v);
#else
  T buffer[lanes<T>];
  store<T>(buffer, v);
  for (std::size_t width = lanes<T> / 2; width > 0; width /= 2)
    for (std::size_t i = 0; i < width; ++i) buffer[i] += buffer[i + width];
  return buffer[0];
#endif
}
template <class T>
TAPESTRY_INLINE T horizontal_max(Vec<T> v) {
  T buffer[lanes<T>];
  store<T>(buffer, v);
  T best = buffer[0];
  for (std::size_t i = 1; i < lanes<T>; ++i) best = buffer[i] > best ? buffer[i] : best;
  return best;
}
/// a where a > b, else b (also where either is not a number). Compilers make a comparison and a blend of that.
template <class T>
TAPESTRY_INLINE Vec<T> vmax(Vec<T> a, Vec<T> b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_mask_max_ps((__m512)a, __mmask16(-1), (__m512)a, (__m512)b);
  else
    return (Vec<T>)_mm512_mask_max_pd((__m512d)a, __mmask8(-1), (__m512d)a, (__m512d)b);
#else
  return a > b ? a : b;
#endif
}
/// a where a < b, else b.
template <class T>
TAPESTRY_INLINE Vec<T> vmin(Vec<T> a, Vec<T> b) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_mask_min_ps((__m512)a, __mmask16(-1), (__m512)a, (__m512)b);
  else
    return (Vec<T>)_mm512_mask_min_pd((__m512d)a, __mmask8(-1), (__m512d)a, (__m512d)b);
#else
  return a < b ? a : b;
#endif
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
