#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

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

#define TAPESTRY_INLINE static inline __attribute__((always_inline))

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
/// The first n < lanes elements; the rest is `fill`.
template <class T>
TAPESTRY_INLINE Vec<T> load_partial(const T* p, std::size_t n, T fill = T(0)) {
  T buffer[lanes<T>];
  for (std::size_t i = 0; i < lanes<T>; ++i) buffer[i] = i < n ? p[i] : fill;
  return load<T>(buffer);
}
template <class T>
TAPESTRY_INLINE void store_partial(T* p, Vec<T> v, std::size_t n) {
  T buffer[lanes<T>];
  store<T>(buffer, v);
  for (std::size_t i = 0; i < n; ++i) p[i] = buffer[i];
}
template <class T>
TAPESTRY_INLINE T horizontal_sum(Vec<T> v) {
  T buffer[lanes<T>];
  store<T>(buffer, v);
  for (std::size_t width = lanes<T> / 2; width > 0; width /= 2)
    for (std::size_t i = 0; i < width; ++i) buffer[i] += buffer[i + width];
  return buffer[0];
}
template <class T>
TAPESTRY_INLINE T horizontal_max(Vec<T> v) {
  T buffer[lanes<T>];
  store<T>(buffer, v);
  T best = buffer[0];
  for (std::size_t i = 1; i < lanes<T>; ++i) best = buffer[i] > best ? buffer[i] : best;
  return best;
}
template <class T>
TAPESTRY_INLINE Vec<T> vmax(Vec<T> a, Vec<T> b) {
  return a > b ? a : b;
}
template <class T>
TAPESTRY_INLINE Vec<T> vmin(Vec<T> a, Vec<T> b) {
  return a < b ? a : b;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
