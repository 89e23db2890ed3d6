#pragma once

#include <tapestry/autodiff/kernels/sleef.hpp>

// Digamma and its derivatives: recurrence up to where the asymptotic series holds (Abramowitz and Stegun 6.3.18 and
// 6.4.12), reflection for negative arguments (6.3.7, 6.4.7). In double; float goes through it.
// For kernel files only.
namespace tapestry::detail::TAPESTRY_ARCH {

TAPESTRY_SLEEF(sinpi, u05)
TAPESTRY_SLEEF(cospi, u05)

inline constexpr double pi = 3.14159265358979323846;

TAPESTRY_INLINE Pack<double, 2> widen(const Pack<float, 1>& x) {
  double wide[lanes<float>];
  for (std::size_t i = 0; i < lanes<float>; ++i) wide[i] = x.v[0][i];
  return load_pack<double, 2>(wide);
}
TAPESTRY_INLINE Pack<float, 1> narrow(const Pack<double, 2>& x) {
  double wide[lanes<float>];
  store_pack<double, 2>(wide, x);
  Pack<float, 1> y;
  for (std::size_t i = 0; i < lanes<float>; ++i) y.v[0][i] = float(wide[i]);
  return y;
}

/// A few ulp, absolute near the zeros; not a number at the negative integers, -+inf at +-0.
template <int U>
TAPESTRY_INLINE Pack<double, U> digamma(const Pack<double, U>& x) {
  const Bits<double, U> reflected = x < 0;
  Pack<double, U> z = select(reflected, 1 - x, x), numerator{}, denominator = like(x, 1);
  for (int step = 0; step < 10; ++step) {
    const Bits<double, U> low = z < 10;
    numerator = select(low, numerator * z + denominator, numerator);
    denominator = select(low, denominator * z, denominator);
    z = select(low, z + 1, z);
  }
  const Pack<double, U> w = 1 / (z * z);
  const Pack<double, U> series =
      w * polynomial(w, 1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240, 1.0 / 132, -691.0 / 32760, 1.0 / 12);
  const Pack<double, U> y = ((vlog(z) - 0.5 / z) - series) - numerator / denominator;
  const Pack<double, U> edge = select(x == 0, -copy_sign(like(x, infinity<double>), x), y);
  const Pack<double, U> sine = sleef_sinpi(x);
  const Pack<double, U> mirrored = select(sine == 0, like(x, not_a_number<double>), y - pi * sleef_cospi(x) / sine);
  return select(reflected, mirrored, edge);
}

/// A few ulp; +inf at zero and the negative integers.
template <int U>
TAPESTRY_INLINE Pack<double, U> trigamma(const Pack<double, U>& x) {
  const Bits<double, U> reflected = x < 0;
  Pack<double, U> z = select(reflected, 1 - x, x), numerator{}, denominator = like(x, 1);
  for (int step = 0; step < 12; ++step) {
    const Bits<double, U> low = z < 12;
    numerator = select(low, numerator * (z * z) + denominator, numerator);
    denominator = select(low, denominator * (z * z), denominator);
    z = select(low, z + 1, z);
  }
  const Pack<double, U> inverse = 1 / z, w = inverse * inverse;
  const Pack<double, U> series =
      polynomial(w, 1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6, -3617.0 / 510);
  const Pack<double, U> y = (inverse + w * (0.5 + inverse * series)) + numerator / denominator;
  const Pack<double, U> ratio = pi / sleef_sinpi(x);
  return select(reflected, ratio * ratio - y, y);
}

/// zeta(s, q) = sum of (q + k)^-s over k >= 0, for whole s >= 2 and q > 0, by Euler-Maclaurin's formula.
static inline double hurwitz_zeta(int s, double q) {
  if (q == 0) return __builtin_inf();
  // B(2j) / (2j)!
  constexpr double bernoulli[] = {1.0 / 12,
                                  -1.0 / 720,
                                  1.0 / 30240,
                                  -1.0 / 1209600,
                                  1.0 / 47900160,
                                  -691.0 / 1307674368000.0,
                                  1.0 / 74724249600.0,
                                  -3617.0 / 10670622842880000.0,
                                  43867.0 / 5109094217170944000.0};
  const int terms = 10 + s / 2;
  double sum = 0;
  for (int k = 0; k < terms; ++k) sum += __builtin_powi(1 / (q + k), s);
  const double z = q + terms, power = __builtin_powi(1 / z, s);
  double tail = power * z / (s - 1) + power / 2, factor = power / z * s;
  for (int j = 0; j < 9; ++j) {
    tail += factor * bernoulli[j];
    factor *= double(s + 2 * j + 1) * double(s + 2 * j + 2) / (z * z);
  }
  return sum + tail;
}

/// The n-th derivative of digamma, 1 <= n <= 60: for odd n +inf at zero and the negative integers, for even n -+inf at
/// +-0 and not a number at the negative integers.
static inline double polygamma(int n, double x) {
  const bool odd = n % 2 != 0;
  if (x == -__builtin_inf()) return __builtin_nan("");
  if (x == __builtin_inf()) return 0;
  if (x == 0 && !odd) return -__builtin_copysign(__builtin_inf(), x);
  if (x <= 0 && x == __builtin_floor(x)) return odd ? __builtin_inf() : __builtin_nan("");
  double factorial = 1;
  for (int k = 2; k <= n; ++k) factorial *= k;
  if (!(x < 0)) return (odd ? 1 : -1) * factorial * hurwitz_zeta(n + 1, x);
  // psi_n(x) = (-1)^n psi_n(1 - x) - pi d^n/dx^n cot(pi x); the derivatives are polynomials in c = cot(pi x):
  // c' = -pi (1 + c^2).
  double cotangent[64] = {0, 1};
  for (int k = 1; k <= n; ++k) {
    double next[64] = {};
    for (int i = 1; i <= k; ++i) {
      next[i - 1] -= pi * i * cotangent[i];
      next[i + 1] -= pi * i * cotangent[i];
    }
    __builtin_memcpy(cotangent, next, sizeof next);
  }
  const double turn = x - 2 * __builtin_floor(x / 2), c = __builtin_cos(pi * turn) / __builtin_sin(pi * turn);
  double derivative = 0;
  for (int i = n + 1; i >= 0; --i) derivative = derivative * c + cotangent[i];
  return -factorial * hurwitz_zeta(n + 1, 1 - x) - pi * derivative;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
