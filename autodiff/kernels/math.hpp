#pragma once

#include <tapestry/autodiff/kernels/simd.hpp>

// Vector functions for kernel files: exp, log and what is made of them, correct at the edges (infinities, NaN,
// denormals, overflow).
namespace tapestry::detail::TAPESTRY_ARCH {

template <class T>
inline constexpr T infinity = T(__builtin_inf());

template <class T>
TAPESTRY_INLINE Vec<T> vabs(Vec<T> x) {
  return x < T(0) ? -x : x + T(0);
}

template <class T>
TAPESTRY_INLINE Vec<T> vsqrt(Vec<T> x) {
  for (std::size_t i = 0; i < lanes<T>; ++i) x[i] = sizeof(T) == 4 ? T(__builtin_sqrtf(float(x[i]))) : T(__builtin_sqrt(double(x[i])));
  return x;
}

/// Nearest integer, ties to even, for |x| < 2^22 (float) or 2^51 (double).
template <class T>
TAPESTRY_INLINE Vec<T> round_small(Vec<T> x) {
  constexpr T magic = sizeof(T) == 4 ? T(12582912.0) : T(6755399441055744.0);
  Vec<T> shifted = x + magic;
  __asm__("" : "+x"(shifted));
  return shifted - magic;
}

/// 2^k for integral k in the exponent's range.
TAPESTRY_INLINE Vec<float> power_of_two(Vec<float> k) {
  const Mask<float> bits = (__builtin_convertvector(k, Mask<float>) + 127) << 23;
  Vec<float> out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}
TAPESTRY_INLINE Vec<double> power_of_two(Vec<double> k) {
  const Vec<double> magic = k + 6755399441055744.0;
  Mask<double> bits;
  std::memcpy(&bits, &magic, sizeof bits);
  bits = (bits + 1023) << 52;
  Vec<double> out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

/// e^x by Cody and Waite's reduction and a Taylor or minimax polynomial on [-ln 2 / 2, ln 2 / 2].
TAPESTRY_INLINE Vec<float> vexp(Vec<float> x) {
  const Vec<float> clamped = vmin<float>(vmax<float>(x, splat<float>(-104.f)), splat<float>(89.f));
  const Vec<float> k = round_small<float>(clamped * 1.44269504088896341f);
  Vec<float> r = clamped - k * 0.693359375f;
  r = r - k * -2.12194440e-4f;
  Vec<float> p = splat<float>(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.f;
  const Vec<float> half = round_small<float>(k * 0.5f);
  Vec<float> y = (p * power_of_two(half)) * power_of_two(k - half);
  return x != x ? x : y;
}
TAPESTRY_INLINE Vec<double> vexp(Vec<double> x) {
  const Vec<double> clamped = vmin<double>(vmax<double>(x, splat<double>(-746.0)), splat<double>(710.0));
  const Vec<double> k = round_small<double>(clamped * 1.44269504088896340736);
  Vec<double> r = clamped - k * 6.93147180369123816490e-01;
  r = r - k * 1.90821492927058770002e-10;
  Vec<double> p = splat<double>(1.0 / 479001600.0 / 13.0);
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
  const Vec<double> half = round_small<double>(k * 0.5);
  Vec<double> y = (p * power_of_two(half)) * power_of_two(k - half);
  return x != x ? x : y;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
