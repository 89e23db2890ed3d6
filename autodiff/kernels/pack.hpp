#pragma once

#include <type_traits>

#include <tapestry/autodiff/kernels/simd.hpp>

// Several vectors side by side: a function written on a Pack is evaluated operation by operation on all of them, so
// that the long dependency chains of exp or log overlap. For kernel files only.
namespace tapestry::detail::TAPESTRY_ARCH {

template <class T, int U>
struct Pack {
  using value_type = T;
  static constexpr int width = U;
  static constexpr std::size_t size = lanes<T> * U;
  Vec<T> v[U];
  static TAPESTRY_ALWAYS_INLINE Pack filled(T value) {
    Pack x;
    for (int u = 0; u < U; ++u) x.v[u] = splat<T>(value);
    return x;
  }
};

/// The lanes of a comparison (all bits set or none), or the bits of a Pack.
template <class T, int U>
struct Bits {
  Mask<T> v[U];
};

template <class T>
using Integer = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

template <class T>
struct UnsignedOf {
  typedef std::make_unsigned_t<Integer<T>> type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using Unsigned = typename UnsignedOf<T>::type;

template <class T, int U>
TAPESTRY_INLINE Pack<T, U> load_pack(const T* p) {
  Pack<T, U> x;
  for (int u = 0; u < U; ++u) x.v[u] = load<T>(p + std::size_t(u) * lanes<T>);
  return x;
}
template <class T, int U>
TAPESTRY_INLINE void store_pack(T* p, const Pack<T, U>& x) {
  for (int u = 0; u < U; ++u) store<T>(p + std::size_t(u) * lanes<T>, x.v[u]);
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> splat_pack(T value) {
  return Pack<T, U>::filled(value);
}
/// A Pack like `x`, filled with `value`.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> like(const Pack<T, U>&, std::type_identity_t<T> value) {
  return splat_pack<T, U>(value);
}

#define TAPESTRY_PACK_OPERATOR(op)                                                         \
  template <class T, int U>                                                                \
  TAPESTRY_INLINE Pack<T, U> operator op(const Pack<T, U>& a, const Pack<T, U>& b) {       \
    Pack<T, U> y;                                                                          \
    for (int u = 0; u < U; ++u) y.v[u] = a.v[u] op b.v[u];                                 \
    return y;                                                                              \
  }                                                                                        \
  template <class T, int U>                                                                \
  TAPESTRY_INLINE Pack<T, U> operator op(const Pack<T, U>& a, std::type_identity_t<T> b) { \
    return a op splat_pack<T, U>(b);                                                       \
  }                                                                                        \
  template <class T, int U>                                                                \
  TAPESTRY_INLINE Pack<T, U> operator op(std::type_identity_t<T> a, const Pack<T, U>& b) { \
    return splat_pack<T, U>(a) op b;                                                       \
  }
TAPESTRY_PACK_OPERATOR(+)
TAPESTRY_PACK_OPERATOR(-)
TAPESTRY_PACK_OPERATOR(*)
TAPESTRY_PACK_OPERATOR(/)
#undef TAPESTRY_PACK_OPERATOR

#define TAPESTRY_PACK_COMPARISON(op)                                                       \
  template <class T, int U>                                                                \
  TAPESTRY_INLINE Bits<T, U> operator op(const Pack<T, U>& a, const Pack<T, U>& b) {       \
    Bits<T, U> y;                                                                          \
    for (int u = 0; u < U; ++u) y.v[u] = a.v[u] op b.v[u];                                 \
    return y;                                                                              \
  }                                                                                        \
  template <class T, int U>                                                                \
  TAPESTRY_INLINE Bits<T, U> operator op(const Pack<T, U>& a, std::type_identity_t<T> b) { \
    return a op splat_pack<T, U>(b);                                                       \
  }
TAPESTRY_PACK_COMPARISON(<)
TAPESTRY_PACK_COMPARISON(<=)
TAPESTRY_PACK_COMPARISON(>)
TAPESTRY_PACK_COMPARISON(>=)
TAPESTRY_PACK_COMPARISON(==)
TAPESTRY_PACK_COMPARISON(!=)
#undef TAPESTRY_PACK_COMPARISON

// Without sign, so that sums may wrap around.
#define TAPESTRY_BITS_OPERATOR(op)                                                                  \
  template <class T, int U>                                                                         \
  TAPESTRY_INLINE Bits<T, U> operator op(const Bits<T, U>& a, const Bits<T, U>& b) {                \
    Bits<T, U> y;                                                                                   \
    for (int u = 0; u < U; ++u) y.v[u] = (Mask<T>)((Unsigned<T>)a.v[u] op(Unsigned<T>) b.v[u]);     \
    return y;                                                                                       \
  }                                                                                                 \
  template <class T, int U>                                                                         \
  TAPESTRY_INLINE Bits<T, U> operator op(const Bits<T, U>& a, std::type_identity_t<Integer<T>> b) { \
    Bits<T, U> y;                                                                                   \
    for (int u = 0; u < U; ++u) y.v[u] = Mask<T>{} + b;                                             \
    return a op y;                                                                                  \
  }
TAPESTRY_BITS_OPERATOR(+)
TAPESTRY_BITS_OPERATOR(-)
TAPESTRY_BITS_OPERATOR(&)
TAPESTRY_BITS_OPERATOR(|)
#undef TAPESTRY_BITS_OPERATOR

template <class T, int U>
TAPESTRY_INLINE Pack<T, U> operator-(const Pack<T, U>& x) {
  Pack<T, U> y;
  for (int u = 0; u < U; ++u) y.v[u] = -x.v[u];
  return y;
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> select(const Bits<T, U>& condition, const Pack<T, U>& a, const Pack<T, U>& b) {
  Pack<T, U> y;
  for (int u = 0; u < U; ++u) y.v[u] = condition.v[u] ? a.v[u] : b.v[u];
  return y;
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> select(const Bits<T, U>& condition, const Pack<T, U>& a, std::type_identity_t<T> b) {
  return select(condition, a, splat_pack<T, U>(b));
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> select(const Bits<T, U>& condition, std::type_identity_t<T> a, const Pack<T, U>& b) {
  return select(condition, splat_pack<T, U>(a), b);
}
template <class T, int U>
TAPESTRY_INLINE Bits<T, U> bits(const Pack<T, U>& x) {
  Bits<T, U> y;
  for (int u = 0; u < U; ++u) y.v[u] = (Mask<T>)x.v[u];
  return y;
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> from_bits(const Bits<T, U>& x) {
  Pack<T, U> y;
  for (int u = 0; u < U; ++u) y.v[u] = (Vec<T>)x.v[u];
  return y;
}
template <class T, int U>
TAPESTRY_INLINE Bits<T, U> shift_left(const Bits<T, U>& x, int n) {
  Bits<T, U> y;
  for (int u = 0; u < U; ++u) y.v[u] = (Mask<T>)((Unsigned<T>)x.v[u] << n);
  return y;
}
/// Zeros come in from the left.
template <class T, int U>
TAPESTRY_INLINE Bits<T, U> shift_right(const Bits<T, U>& x, int n) {
  Bits<T, U> y;
  for (int u = 0; u < U; ++u) y.v[u] = (Mask<T>)((Unsigned<T>)x.v[u] >> n);
  return y;
}
/// a where a > b, else b (also where either is not a number).
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> greater_or_second(std::type_identity_t<T> a, const Pack<T, U>& b) {
  Pack<T, U> y;
  for (int u = 0; u < U; ++u) y.v[u] = vmax<T>(splat<T>(a), b.v[u]);
  return y;
}
/// a where a < b, else b (also where either is not a number).
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> less_or_second(std::type_identity_t<T> a, const Pack<T, U>& b) {
  Pack<T, U> y;
  for (int u = 0; u < U; ++u) y.v[u] = vmin<T>(splat<T>(a), b.v[u]);
  return y;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
