#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <tapestry/autodiff/kernels/random.hpp>
#include <tapestry/autodiff/kernels/simd.hpp>

// Philox on vectors, and the few functions that random numbers are made with. They must give the same bits on every
// instruction set, so they are + - * / and sqrt in one written order; files that include this are compiled without
// contraction to fused multiply-adds.
namespace tapestry::detail::TAPESTRY_ARCH {

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  typedef std::uint32_t type __attribute__((vector_size(vector_bytes)));
};
template <>
struct BitsOf<double> {
  typedef std::uint64_t type __attribute__((vector_size(vector_bytes)));
};
/// Unsigned integers as wide as T.
template <class T>
using Bits = typename BitsOf<T>::type;
using Words = Bits<double>;

inline constexpr std::size_t word_lanes = lanes<double>;

/// Products of the low halves. (The unmasked AVX-512 intrinsics make g++ 12 warn of uninitialised values.)
TAPESTRY_INLINE Words multiply_low_halves(Words a, Words b) {
#if defined(__AVX512F__)
  return (Words)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (Words)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (Words)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

/// Words 0 and 1, and words 2 and 3 of one Philox block in each lane, as 64-bit numbers.
struct Blocks {
  Words first, second;
};

/// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) of the
/// counters (low, high). The 32-bit words live in the low halves of 64-bit lanes, what is above them is ignored.
TAPESTRY_INLINE Blocks philox(std::uint64_t key, Words low, Words high) {
  const Words m0 = Words{} + 0xD2511F53u, m1 = Words{} + 0xCD9E8D57u;
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  Words c0 = low, c1 = low >> 32, c2 = high, c3 = high >> 32;
  for (int round = 0; round < 10; ++round) {
    const Words p0 = multiply_low_halves(c0, m0), p1 = multiply_low_halves(c2, m1);
    c0 = (p1 >> 32) ^ c1 ^ (Words{} + k0);
    c1 = p1;
    c2 = (p0 >> 32) ^ c3 ^ (Words{} + k1);
    c3 = p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {(c0 & 0xffffffffu) | (c1 << 32), (c2 & 0xffffffffu) | (c3 << 32)};
}

/// 0, 1, 2, ...
TAPESTRY_INLINE Words lane_numbers() {
  Words w{};
  for (std::size_t i = 0; i < word_lanes; ++i) w[i] = i;
  return w;
}

template <class T>
TAPESTRY_INLINE Vec<T> polynomial(Vec<T>, T c) {
  return splat<T>(c);
}
/// c + x * (next + x * (...))
template <class T, class... More>
TAPESTRY_INLINE Vec<T> polynomial(Vec<T> x, T c, More... more) {
  return polynomial<T>(x, T(more)...) * x + c;
}

TAPESTRY_INLINE Vec<float> square_root(Vec<float> x) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_maskz_sqrt_ps(0xffff, (__m512)x);
#elif defined(__AVX2__)
  return (Vec<float>)_mm256_sqrt_ps((__m256)x);
#elif defined(__x86_64__)
  return (Vec<float>)_mm_sqrt_ps((__m128)x);
#else
  for (std::size_t i = 0; i < lanes<float>; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}
TAPESTRY_INLINE Vec<double> square_root(Vec<double> x) {
#if defined(__AVX512F__)
  return (Vec<double>)_mm512_maskz_sqrt_pd(0xff, (__m512d)x);
#elif defined(__AVX2__)
  return (Vec<double>)_mm256_sqrt_pd((__m256d)x);
#elif defined(__x86_64__)
  return (Vec<double>)_mm_sqrt_pd((__m128d)x);
#else
  for (std::size_t i = 0; i < lanes<double>; ++i) x[i] = __builtin_sqrt(x[i]);
  return x;
#endif
}

/// The 32-bit number, rounded once.
TAPESTRY_INLINE Vec<float> to_real(Bits<float> w) {
  const auto high = __builtin_convertvector((Mask<float>)(w >> 16), Vec<float>);
  const auto low = __builtin_convertvector((Mask<float>)(w & 0xffffu), Vec<float>);
  return high * 65536.f + low;
}
/// A number below 2^53, exactly: each half becomes the low bits of a power of two's significand.
TAPESTRY_INLINE Vec<double> to_real(Bits<double> w) {
  const Words high = (w >> 32) | 0x4530000000000000u, low = (w & 0xffffffffu) | 0x4330000000000000u;
  return ((Vec<double>)high - (0x1p84 + 0x1p52)) + (Vec<double>)low;
}

/// u in [0, 1), a multiple of 2^-24 or 2^-53.
TAPESTRY_INLINE Vec<float> unit(Bits<float> w) {
  return __builtin_convertvector((Mask<float>)(w >> 8), Vec<float>) * 0x1p-24f;
}
TAPESTRY_INLINE Vec<double> unit(Bits<double> w) {
  return to_real(w >> 11) * 0x1p-53;
}

/// u in (0, 1), precise near 0.
TAPESTRY_INLINE Vec<float> open_unit(Bits<float> w) {
  return to_real(w) * 0x1p-32f + 0x1p-33f;
}
TAPESTRY_INLINE Vec<double> open_unit(Bits<double> w) {
  return to_real(w >> 11) * 0x1p-53 + 0x1p-54;
}

template <class T>
struct Binary754;
template <>
struct Binary754<float> {
  static constexpr std::uint32_t one = 0x3f800000u, root_half = 0x3f3504f3u, fraction = 0x007fffffu;
  static constexpr int fraction_bits = 23, bias = 127;
  static constexpr float ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8p-15f;
};
template <>
struct Binary754<double> {
  static constexpr std::uint64_t one = 0x3ff0000000000000u, root_half = 0x3fe6a09e667f3bcdu,
                                 fraction = 0x000fffffffffffffu;
  static constexpr int fraction_bits = 52, bias = 1023;
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
};

/// log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)]: 2 artanh(f / (2 + f)), by its Taylor series.
TAPESTRY_INLINE Vec<float> log1p_core(Vec<float> f) {
  const Vec<float> s = f / (f + 2.f), z = s * s;
  const Vec<float> p = polynomial<float>(z, 2.f / 3, 2.f / 5, 2.f / 7, 2.f / 9, 2.f / 11);
  return s * 2.f + s * z * p;
}
TAPESTRY_INLINE Vec<double> log1p_core(Vec<double> f) {
  const Vec<double> s = f / (f + 2.0), z = s * s;
  const Vec<double> p =
      polynomial<double>(z, 2. / 3, 2. / 5, 2. / 7, 2. / 9, 2. / 11, 2. / 13, 2. / 15, 2. / 17, 2. / 19, 2. / 21);
  return s * 2.0 + s * z * p;
}

/// x = 2^exponent (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), of a positive normal number.
template <class T>
struct Parts {
  Vec<T> exponent, f;
};
template <class T>
TAPESTRY_INLINE Parts<T> split_exponent(Vec<T> x) {
  using B = Binary754<T>;
  const Bits<T> shifted = (Bits<T>)x + (B::one - B::root_half);
  const Bits<T> m = (shifted & B::fraction) + B::root_half;
  return {to_real(shifted >> B::fraction_bits) - T(B::bias), (Vec<T>)m - T(1)};
}

/// log(x) of a positive normal number.
template <class T>
TAPESTRY_INLINE Vec<T> log_positive(Vec<T> x) {
  const Parts<T> parts = split_exponent<T>(x);
  return parts.exponent * Binary754<T>::ln2_high + (parts.exponent * Binary754<T>::ln2_low + log1p_core(parts.f));
}

/// -log(u) for the uniform number of a word: a standard exponential variate, > 0, with full relative precision at both
/// ends (near u = 1 from 1 - u, which is the number of the inverted word).
template <class T>
TAPESTRY_INLINE Vec<T> exponential_variate(Bits<T> w) {
  const Vec<T> u = open_unit(w), rest = open_unit(~w);
  const Parts<T> parts = split_exponent<T>(u);
  const auto near_one = rest < T(0.25);
  const Vec<T> f = near_one ? -rest : parts.f;
  const Vec<T> k = near_one ? Vec<T>{} : parts.exponent;
  return -(k * Binary754<T>::ln2_high + (k * Binary754<T>::ln2_low + log1p_core(f)));
}

template <class T>
struct Pair {
  Vec<T> first, second;
};

/// Cosine and sine of the angle that the word is the fraction of a turn of: the top two bits choose a quadrant, the
/// rest an angle in [-pi/4, pi/4) about its middle.
TAPESTRY_INLINE Pair<float> turn(Bits<float> w) {
  const Mask<float> r = (Mask<float>)(w << 2) >> 2;
  const Vec<float> x = (__builtin_convertvector(r, Vec<float>) + 0.5f) * (0x1p-30f * 1.57079632679489662f);
  const Vec<float> z = x * x;
  const Vec<float> sine = x + x * z * polynomial<float>(z, -1.f / 6, 1.f / 120, -1.f / 5040, 1.f / 362880);
  const Vec<float> cosine = 1.f + z * polynomial<float>(z, -.5f, 1.f / 24, -1.f / 720, 1.f / 40320, -1.f / 3628800);
  const auto swap = (Mask<float>)(w & 0x40000000u) != 0;
  const Bits<float> sign = w & 0x80000000u;
  const Vec<float> a = swap ? sine : cosine, b = swap ? cosine : sine;
  return {(Vec<float>)((Bits<float>)a ^ sign), (Vec<float>)((Bits<float>)b ^ sign)};
}
TAPESTRY_INLINE Pair<double> turn(Bits<double> w) {
  const Vec<double> r = to_real((w >> 9) & 0x1fffffffffffffu) - 0x1p52;
  const Vec<double> x = (r + 0.5) * (0x1p-53 * 1.57079632679489661923);
  const Vec<double> z = x * x;
  const Vec<double> sine = x + x * z *
                                   polynomial<double>(z, -1. / 6, 1. / 120, -1. / 5040, 1. / 362880, -1. / 39916800,
                                                      1. / 6227020800., -1. / 1307674368000., 1. / 355687428096000.);
  const Vec<double> cosine =
      1.0 + z * polynomial<double>(z, -.5, 1. / 24, -1. / 720, 1. / 40320, -1. / 3628800, 1. / 479001600.,
                                   -1. / 87178291200., 1. / 20922789888000., -1. / 6402373705728000.);
  const auto swap = (Mask<double>)(w & 0x4000000000000000u) != 0;
  const Bits<double> sign = w & 0x8000000000000000u;
  const Vec<double> a = swap ? sine : cosine, b = swap ? cosine : sine;
  return {(Vec<double>)((Bits<double>)a ^ sign), (Vec<double>)((Bits<double>)b ^ sign)};
}

/// Two standard normal variates from two words (Box and Muller, "A note on the generation of random normal deviates",
/// Annals of Mathematical Statistics 29, 1958).
template <class T>
TAPESTRY_INLINE Pair<T> normal_pair(Bits<T> radius, Bits<T> angle) {
  const Vec<T> r = square_root(exponential_variate<T>(radius) * T(2));
  const Pair<T> direction = turn(angle);
  return {r * direction.first, r * direction.second};
}

/// e^x; 0 below the smallest normal number, infinity above the largest.
TAPESTRY_INLINE Vec<float> exponential(Vec<float> x) {
  const Vec<float> clamped = vmin<float>(vmax<float>(x, splat(-88.f)), splat(88.5f));
  Vec<float> shifted = clamped * 1.44269504088896341f + 12582912.f;
  const Bits<float> exponent = (Bits<float>)shifted << 23;
  const Vec<float> k = shifted - 12582912.f;
  const Vec<float> r = (clamped - k * Binary754<float>::ln2_high) - k * Binary754<float>::ln2_low;
  const Vec<float> p = polynomial<float>(r, 1.f, 1.f, .5f, 1.f / 6, 1.f / 24, 1.f / 120, 1.f / 720, 1.f / 5040);
  const Vec<float> y = (Vec<float>)((Bits<float>)p + exponent);
  return x < -87.f ? Vec<float>{} : x > 88.f ? splat(__builtin_inff()) : y;
}
TAPESTRY_INLINE Vec<double> exponential(Vec<double> x) {
  const Vec<double> clamped = vmin<double>(vmax<double>(x, splat(-709.)), splat(709.5));
  Vec<double> shifted = clamped * 1.44269504088896340736 + 6755399441055744.0;
  const Bits<double> exponent = (Bits<double>)shifted << 52;
  const Vec<double> k = shifted - 6755399441055744.0;
  const Vec<double> r = (clamped - k * Binary754<double>::ln2_high) - k * Binary754<double>::ln2_low;
  const Vec<double> p = polynomial<double>(r, 1., 1., .5, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040, 1. / 40320,
                                           1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600., 1. / 6227020800.);
  const Vec<double> y = (Vec<double>)((Bits<double>)p + exponent);
  return x < -708. ? Vec<double>{} : x > 709. ? splat(__builtin_inf()) : y;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
