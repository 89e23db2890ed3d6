#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

namespace tapestry::detail {

template <class N>
concept Number = std::is_arithmetic_v<N>;

/// A scalar-like value with n partial derivatives: forward-mode differentiation by dual numbers. S is a block of
/// elements, or again a Dual for higher orders.
template <class S, int n>
struct Dual {
  using scalar = typename S::scalar;
  S x;
  std::array<S, n> d;

  Dual() = default;
  Dual(const S& value, const std::array<S, n>& partials) : x(value), d(partials) {}
  template <Number N>
  Dual(N value) : x(static_cast<scalar>(value)) {
    d.fill(S(scalar(0)));
  }
  /// The variable itself: derivative 1 in place `index`, or none for -1.
  static Dual seed(const S& value, int index) {
    Dual out;
    out.x = value;
    for (int i = 0; i < n; ++i) out.d[static_cast<std::size_t>(i)] = S(scalar(i == index ? 1 : 0));
    return out;
  }
};

/// f(a) with derivative `slope`.
template <class S, int n>
Dual<S, n> chained(const S& value, const S& slope, const Dual<S, n>& a) {
  Dual<S, n> out;
  out.x = value;
  for (std::size_t i = 0; i < n; ++i) out.d[i] = slope * a.d[i];
  return out;
}

template <class S, int n>
Dual<S, n> operator-(const Dual<S, n>& a) {
  Dual<S, n> out;
  out.x = -a.x;
  for (std::size_t i = 0; i < n; ++i) out.d[i] = -a.d[i];
  return out;
}
template <class S, int n>
Dual<S, n> operator+(const Dual<S, n>& a, const Dual<S, n>& b) {
  Dual<S, n> out;
  out.x = a.x + b.x;
  for (std::size_t i = 0; i < n; ++i) out.d[i] = a.d[i] + b.d[i];
  return out;
}
template <class S, int n>
Dual<S, n> operator-(const Dual<S, n>& a, const Dual<S, n>& b) {
  Dual<S, n> out;
  out.x = a.x - b.x;
  for (std::size_t i = 0; i < n; ++i) out.d[i] = a.d[i] - b.d[i];
  return out;
}
template <class S, int n>
Dual<S, n> operator*(const Dual<S, n>& a, const Dual<S, n>& b) {
  Dual<S, n> out;
  out.x = a.x * b.x;
  for (std::size_t i = 0; i < n; ++i) out.d[i] = a.d[i] * b.x + a.x * b.d[i];
  return out;
}
template <class S, int n>
Dual<S, n> operator/(const Dual<S, n>& a, const Dual<S, n>& b) {
  Dual<S, n> out;
  out.x = a.x / b.x;
  for (std::size_t i = 0; i < n; ++i) out.d[i] = (a.d[i] - out.x * b.d[i]) / b.x;
  return out;
}

template <class S, int n, Number N>
Dual<S, n> operator+(const Dual<S, n>& a, N b) {
  Dual<S, n> out = a;
  out.x = a.x + b;
  return out;
}
template <class S, int n, Number N>
Dual<S, n> operator+(N a, const Dual<S, n>& b) {
  return b + a;
}
template <class S, int n, Number N>
Dual<S, n> operator-(const Dual<S, n>& a, N b) {
  Dual<S, n> out = a;
  out.x = a.x - b;
  return out;
}
template <class S, int n, Number N>
Dual<S, n> operator-(N a, const Dual<S, n>& b) {
  return -b + a;
}
template <class S, int n, Number N>
Dual<S, n> operator*(const Dual<S, n>& a, N b) {
  Dual<S, n> out;
  out.x = a.x * b;
  for (std::size_t i = 0; i < n; ++i) out.d[i] = a.d[i] * b;
  return out;
}
template <class S, int n, Number N>
Dual<S, n> operator*(N a, const Dual<S, n>& b) {
  return b * a;
}
template <class S, int n, Number N>
Dual<S, n> operator/(const Dual<S, n>& a, N b) {
  Dual<S, n> out;
  out.x = a.x / b;
  for (std::size_t i = 0; i < n; ++i) out.d[i] = a.d[i] / b;
  return out;
}
template <class S, int n, Number N>
Dual<S, n> operator/(N a, const Dual<S, n>& b) {
  const S value = a / b.x;
  return chained(value, -(value / b.x), b);
}

/// What a Dual is made of at the bottom.
template <class S>
struct InnermostOf {
  using type = S;
};
template <class S, int n>
struct InnermostOf<Dual<S, n>> : InnermostOf<S> {};
template <class S>
using Innermost = typename InnermostOf<S>::type;

// Comparisons give blocks of 1 or 0, without derivatives.
#define TAPESTRY_COMPARE(op)                                           \
  template <class S, int n>                                            \
  Innermost<S> operator op(const Dual<S, n>& a, const Dual<S, n>& b) { \
    return a.x op b.x;                                                 \
  }                                                                    \
  template <class S, int n, Number N>                                  \
  Innermost<S> operator op(const Dual<S, n>& a, N b) {                 \
    return a.x op b;                                                   \
  }
TAPESTRY_COMPARE(<)
TAPESTRY_COMPARE(<=)
TAPESTRY_COMPARE(>)
TAPESTRY_COMPARE(>=)
#undef TAPESTRY_COMPARE

/// Where the condition is not 0 the first, else the second argument.
template <class S, int n>
Dual<S, n> where(const Innermost<S>& condition, const Dual<S, n>& a, const Dual<S, n>& b) {
  Dual<S, n> out;
  out.x = where(condition, a.x, b.x);
  for (std::size_t i = 0; i < n; ++i) out.d[i] = where(condition, a.d[i], b.d[i]);
  return out;
}
template <class S, int n, Number N>
Dual<S, n> where(const Innermost<S>& condition, const Dual<S, n>& a, N b) {
  return where(condition, a, Dual<S, n>(b));
}
template <class S, int n, Number N>
Dual<S, n> where(const Innermost<S>& condition, N a, const Dual<S, n>& b) {
  return where(condition, Dual<S, n>(a), b);
}
template <class S, int n>
Dual<S, n> maximum(const Dual<S, n>& a, const Dual<S, n>& b) {
  return where(a.x >= b.x, a, b);
}
template <class S, int n>
Dual<S, n> minimum(const Dual<S, n>& a, const Dual<S, n>& b) {
  return where(a.x <= b.x, a, b);
}

// f(a): value first, then the slope from x (the argument) and y (the value).
#define TAPESTRY_DUAL(f, slope)       \
  template <class S, int n>           \
  Dual<S, n> f(const Dual<S, n>& a) { \
    const S& x = a.x;                 \
    const S y = f(x);                 \
    (void)x;                          \
    return chained(y, S(slope), a);   \
  }
TAPESTRY_DUAL(square, x * 2)
TAPESTRY_DUAL(sqrt, 0.5 / y)
TAPESTRY_DUAL(rsqrt, y* y* y * -0.5)
TAPESTRY_DUAL(reciprocal, -(y* y))
TAPESTRY_DUAL(exp, y)
TAPESTRY_DUAL(expm1, y + 1)
TAPESTRY_DUAL(log, 1 / x)
TAPESTRY_DUAL(log1p, 1 / (x + 1))
TAPESTRY_DUAL(sigmoid, y*(1 - y))
TAPESTRY_DUAL(log_sigmoid, sigmoid(-x))
TAPESTRY_DUAL(softplus, sigmoid(x))
TAPESTRY_DUAL(tanh, 1 - y * y)
TAPESTRY_DUAL(relu, sign(y))
TAPESTRY_DUAL(abs, sign(x))
TAPESTRY_DUAL(sign, x * 0)
TAPESTRY_DUAL(sin, cos(x))
TAPESTRY_DUAL(cos, -sin(x))
TAPESTRY_DUAL(tan, y* y + 1)
TAPESTRY_DUAL(asin, rsqrt(1 - x * x))
TAPESTRY_DUAL(acos, -rsqrt(1 - x * x))
TAPESTRY_DUAL(atan, 1 / (x * x + 1))
TAPESTRY_DUAL(sinh, cosh(x))
TAPESTRY_DUAL(cosh, sinh(x))
TAPESTRY_DUAL(erf, exp(-(x* x)) * 1.12837916709551257390)
TAPESTRY_DUAL(erfc, exp(-(x* x)) * -1.12837916709551257390)
#undef TAPESTRY_DUAL

/// log Gamma(x) and its derivatives: the m-th is polygamma(m - 1, x).
template <class S, int n>
Dual<S, n> lgamma(const Dual<S, n>& a) {
  return chained(lgamma(a.x), polygamma(0, a.x), a);
}
template <class S, int n>
Dual<S, n> polygamma(int order, const Dual<S, n>& a) {
  return chained(polygamma(order, a.x), polygamma(order + 1, a.x), a);
}
template <class S, int n>
Dual<S, n> digamma(const Dual<S, n>& a) {
  return polygamma(0, a);
}

/// x^p for a number p.
template <class S, int n, Number N>
Dual<S, n> pow(const Dual<S, n>& a, N p) {
  return chained(pow(a.x, p), S(pow(a.x, p - 1) * p), a);
}

template <class D, class S, int n>
requires std::is_convertible_v<D, Dual<S, n>> Dual<S, n>
&operator+=(Dual<S, n>& a, const D& b) {
  return a = a + b;
}
template <class D, class S, int n>
requires std::is_convertible_v<D, Dual<S, n>> Dual<S, n>
&operator*=(Dual<S, n>& a, const D& b) {
  return a = a * b;
}

}  // namespace tapestry::detail
