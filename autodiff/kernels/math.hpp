#pragma once

#include <tapestry/autodiff/kernels/pack.hpp>

// Vector functions for kernel files: exp, log and what is made of them, correct at the edges (infinities, NaN,
// denormals, overflow). Each takes a Pack (several vectors, evaluated interleaved) or one Vec. Polynomials are
// minimax fits (Remez) made for this file; the reductions are Cody and Waite's (1980) and, for the logarithm in double,
// log(1+f) = 2 artanh(f / (2+f)). Bounds in units in the last place are checked by the tests.
namespace tapestry::detail::TAPESTRY_ARCH {

template <class T>
inline constexpr T infinity = T(__builtin_inf());
template <class T>
inline constexpr T not_a_number = T(__builtin_nan(""));
template <class T>
inline constexpr bool single = sizeof(T) == 4;
/// Bits of the fraction, and what is added to the exponent.
template <class T>
inline constexpr int fraction_bits = single<T> ? 23 : 52;
template <class T>
inline constexpr Integer<T> exponent_bias = single<T> ? 127 : 1023;

template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vabs(const Pack<T, U>& x) {
  constexpr Integer<T> all_but_sign = single<T> ? Integer<T>(0x7fffffff) : Integer<T>(0x7fffffffffffffff);
  return from_bits(bits(x) & all_but_sign);
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> copy_sign(const Pack<T, U>& magnitude, const Pack<T, U>& sign) {
  constexpr Integer<T> all_but_sign = single<T> ? Integer<T>(0x7fffffff) : Integer<T>(0x7fffffffffffffff);
  return from_bits((bits(magnitude) & all_but_sign) | (bits(sign) & ~all_but_sign));
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vsqrt(Pack<T, U> x) {
  for (int u = 0; u < U; ++u)
    for (std::size_t i = 0; i < lanes<T>; ++i) {
      if constexpr (single<T>)
        x.v[u][i] = __builtin_sqrtf(x.v[u][i]);
      else
        x.v[u][i] = __builtin_sqrt(x.v[u][i]);
    }
  return x;
}

/// Nearest integer, ties to even.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vround(const Pack<T, U>& x) {
  constexpr T big = T(Integer<T>(1) << fraction_bits<T>);
  const Pack<T, U> magnitude = vabs(x);
  const Pack<T, U> rounded = copy_sign((magnitude + big) - big, x);
  return select(magnitude < big, rounded, x);
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vfloor(const Pack<T, U>& x) {
  const Pack<T, U> rounded = vround(x);
  return select(rounded > x, rounded - T(1), rounded);
}
/// The same for |x| < 2^22 (float) or 2^51 (double).
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> round_small(const Pack<T, U>& x) {
  constexpr T magic = single<T> ? T(12582912.0) : T(6755399441055744.0);
  return (x + magic) - magic;
}

/// x y, rounded like that.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> rounded_product(const Pack<T, U>& x, T y) {
  return round_small(x * y);
}

/// 2^k for integral k in the exponent's range.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> power_of_two(const Pack<T, U>& k) {
  // The integer stands in the last bits of k + magic; the shift drops the rest.
  constexpr T magic = single<T> ? T(12582912.0) : T(6755399441055744.0);
  return from_bits(shift_left(bits(k + (magic + T(exponent_bias<T>))), fraction_bits<T>));
}

template <class T, int U>
TAPESTRY_INLINE Pack<T, U> fused(const Pack<T, U>& a, const Pack<T, U>& b, const Pack<T, U>& c) {
  return a * b + c;
}
/// x 2^k for integral k, where it overflows or is a denormal, too.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> scaled(const Pack<T, U>& x, const Pack<T, U>& k) {
#if defined(__AVX512F__)
  Pack<T, U> y;
  for (int u = 0; u < U; ++u) {
    if constexpr (single<T>)
      y.v[u] = (Vec<T>)_mm512_mask_scalef_ps((__m512)x.v[u], __mmask16(-1), (__m512)x.v[u], (__m512)k.v[u]);
    else
      y.v[u] = (Vec<T>)_mm512_mask_scalef_pd((__m512d)x.v[u], __mmask8(-1), (__m512d)x.v[u], (__m512d)k.v[u]);
  }
  return y;
#else
  // In two steps: 2^k alone may be out of range where the product is not.
  const Pack<T, U> half = round_small(k * T(0.5));
  return (x * power_of_two(half)) * power_of_two(k - half);
#endif
}

#define TAPESTRY_FORMULA TAPESTRY_INLINE
#include <tapestry/autodiff/kernels/exponential.inc>
#undef TAPESTRY_FORMULA

/// e^x for x in [-87, 0] (float) or [-708, 0] (double), less than 1e-37 (1e-307) below: for sums in which that is
/// nothing.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vexp_of_negative(const Pack<T, U>& x) {
  constexpr T low = single<T> ? T(-87) : T(-708);
  const ExpReduced<Pack<T, U>> e = reduce_exp(greater_or_second(low, x));
  const Pack<T, U> y = (e.q * (e.r * e.r) + e.r + T(1)) * power_of_two(e.k);
  return select(x < low, T(0), y);
}

/// e^x - 1. 2 ulp.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vexpm1(const Pack<T, U>& x) {
  constexpr T low = single<T> ? T(-20) : T(-44), high = single<T> ? T(89) : T(710);
  constexpr T tiny = single<T> ? T(1e-10) : T(1e-20);
  const ExpReduced<Pack<T, U>> e = reduce_exp(less_or_second(high, greater_or_second(low, x)));
  const Pack<T, U> p = e.q * (e.r * e.r) + e.r;
  const Pack<T, U> half = power_of_two(e.k - T(1));
  const Pack<T, U> y = (p * half + (half - T(0.5))) * T(2);
  return select(vabs(x) < tiny, x, y);
}

/// k ln 2 + log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1].
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> log_reduced(const Pack<T, U>& k, const Pack<T, U>& f) {
  const Pack<T, U> half_square = T(0.5) * f * f;
  if constexpr (single<T>) {
    const Pack<T, U> p = polynomial(f, 0.33333311740973279f, -0.24999986258789106f, 0.20002161061061137f,
                                    -0.16669235279029078f, 0.14219699029456266f, -0.12385011458663070f,
                                    0.11867198108695677f, -0.11784941575412978f, 0.069212670218695352f);
    const Pack<T, U> y = p * (f * f * f) + k * -2.12194440e-4f;
    return ((y - half_square) + f) + k * 0.693359375f;
  } else {
    const Pack<T, U> s = f / (f + 2.0), z = s * s;
    const Pack<T, U> r =
        z * polynomial(z, 0.66666666666667311385, 0.39999999999429933442, 0.28571428739883682946,
                       0.22222198765304916151, 0.1818355694077969207, 0.15314185353168893328, 0.14795059052685440846);
    return k * 6.93147180369123816490e-01 -
           ((half_square - (s * (half_square + r) + k * 1.90821492927058770002e-10)) - f);
  }
}

/// x = 2^k m with m in [sqrt(1/2), sqrt(2)), for positive finite x that are no denormals.
template <class T, int U>
struct LogReduced {
  Pack<T, U> k, m;
  Bits<T, U> biased;  ///< k + exponent_bias
};
template <class T, int U>
TAPESTRY_INLINE LogReduced<T, U> reduce_log(const Pack<T, U>& x) {
  constexpr Integer<T> sqrt_half = single<T> ? Integer<T>(0x3f3504f3) : Integer<T>(0x3fe6a09e667f3bcd);
  constexpr Integer<T> one = exponent_bias<T> << fraction_bits<T>;
  constexpr T magic = single<T> ? T(8388608.0) : T(4503599627370496.0);
  constexpr Integer<T> magic_bits = single<T> ? Integer<T>(0x4b000000) : Integer<T>(0x4330000000000000);
  LogReduced<T, U> l;
  const Bits<T, U> ix = bits(x);
  l.biased = shift_right(ix + (one - sqrt_half), fraction_bits<T>);
  l.k = from_bits(l.biased | magic_bits) - (magic + T(exponent_bias<T>));
  l.m = from_bits((ix - shift_left(l.biased, fraction_bits<T>)) + one);
  return l;
}

/// The natural logarithm. 1 ulp.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vlog(const Pack<T, U>& x) {
  constexpr T smallest = single<T> ? T(1.17549435e-38) : T(2.2250738585072014e-308);
  constexpr T scale = single<T> ? T(33554432.0) : T(18014398509481984.0), scale_exponent = single<T> ? T(25) : T(54);
  const Bits<T, U> denormal = x < smallest;
  const LogReduced<T, U> l = reduce_log(select(denormal, x * scale, x));
  const Pack<T, U> y = log_reduced(select(denormal, l.k - scale_exponent, l.k), l.m - T(1));
  return select(x > T(0), select(x == infinity<T>, x, y), select(x == T(0), -infinity<T>, like(x, not_a_number<T>)));
}

/// log(1 + x). 2 ulp.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vlog1p(const Pack<T, U>& x) {
  const Pack<T, U> u = x + T(1), rest = u - T(1);
  const Pack<T, U> rounding = (T(1) - (u - rest)) + (x - rest);
  const LogReduced<T, U> l = reduce_log(u);
  Bits<T, U> inverse;
  for (int i = 0; i < U; ++i) inverse.v[i] = 2 * exponent_bias<T> - l.biased.v[i];
  const Pack<T, U> correction = rounding * from_bits(shift_left(inverse, fraction_bits<T>));
  const Pack<T, U> f = (l.m - T(1)) + select(u < T(1e18), correction, T(0));
  const Pack<T, U> y = log_reduced(l.k, f);
  const Pack<T, U> edge = select(x > T(-1), x, select(x == T(-1), -infinity<T>, like(x, not_a_number<T>)));
  return select((x > T(-1)) & (x < infinity<T>)&(x != T(0)), y, edge);
}
/// log(1 + x) for x in [0, 1]. 2 ulp.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> log1p_of_fraction(const Pack<T, U>& x) {
  const Pack<T, U> u = x + T(1);
  const Pack<T, U> rounding = x - (u - T(1));
  const Bits<T, U> large = u > T(1.4142135623730951);
  const Pack<T, U> k = select(large, like(x, T(1)), T(0));
  const Pack<T, U> f = select(large, (u * T(0.5) - T(1)) + rounding * T(0.5), x);
  return log_reduced(k, f);
}

/// log(1 + e^x). 2 ulp.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vsoftplus(const Pack<T, U>& x) {
  return greater_or_second(T(0), x) + log1p_of_fraction(vexp(-vabs(x)));
}

// The same on one vector.
#define TAPESTRY_VECTOR_FUNCTION(name, T) \
  TAPESTRY_INLINE Vec<T> name(Vec<T> x) { \
    const Pack<T, 1> pack{{x}};           \
    return name(pack).v[0];               \
  }
#define TAPESTRY_VECTOR_FUNCTIONS(name) \
  TAPESTRY_VECTOR_FUNCTION(name, float) \
  TAPESTRY_VECTOR_FUNCTION(name, double)
TAPESTRY_VECTOR_FUNCTIONS(vabs)
TAPESTRY_VECTOR_FUNCTIONS(vsqrt)
TAPESTRY_VECTOR_FUNCTIONS(vexp)
TAPESTRY_VECTOR_FUNCTIONS(vexp_of_negative)
TAPESTRY_VECTOR_FUNCTIONS(vexpm1)
TAPESTRY_VECTOR_FUNCTIONS(vlog)
TAPESTRY_VECTOR_FUNCTIONS(vlog1p)
TAPESTRY_VECTOR_FUNCTIONS(vsigmoid)
TAPESTRY_VECTOR_FUNCTIONS(vsoftplus)
TAPESTRY_VECTOR_FUNCTIONS(vtanh)
#undef TAPESTRY_VECTOR_FUNCTIONS
#undef TAPESTRY_VECTOR_FUNCTION

}  // namespace tapestry::detail::TAPESTRY_ARCH
