#include <tapestry/autodiff/kernels/elementwise_loops.hpp>
#include <tapestry/autodiff/kernels/polygamma.hpp>
#include <tapestry/autodiff/kernels/sleef.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

TAPESTRY_SLEEF(erf, u10)
TAPESTRY_SLEEF(erfc, u15)
TAPESTRY_SLEEF(lgamma, u10)

template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vdigamma(const Pack<T, U>& x) {
  if constexpr (single<T>)
    return narrow(digamma(widen(x)));
  else
    return digamma(x);
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vtrigamma(const Pack<T, U>& x) {
  if constexpr (single<T>)
    return narrow(trigamma(widen(x)));
  else
    return trigamma(x);
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vpolygamma(T order, const Pack<T, U>& x) {
  if (order == T(0)) return vdigamma(x);
  if (order == T(1)) return vtrigamma(x);
  Pack<T, U> y;
  for (int u = 0; u < U; ++u)
    for (std::size_t i = 0; i < lanes<T>; ++i) y.v[u][i] = T(polygamma(int(order), double(x.v[u][i])));
  return y;
}

/// log Gamma of positive finite floats, in double: Stirling's series at x + 7 less the logarithm of what is between,
/// and near the zeros at 1 and 2 the Taylor series there.
template <int U>
TAPESTRY_INLINE Pack<double, U> lgamma_of_positive(const Pack<double, U>& x) {
  Pack<double, U> between = x;
  for (int n = 1; n < 7; ++n) between = between * (x + double(n));
  const Pack<double, U> z = x + 7.0, inverse = 1.0 / z, square = inverse * inverse;
  const Pack<double, U> series = inverse * polynomial(square, 1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680);
  const Pack<double, U> far = ((z - 0.5) * vlog(z) - z) + (series + 0.91893853320467274178) - vlog(between);
  const Pack<double, U> a = x - 1.0, b = x - 2.0;
  const Pack<double, U> at_one =
      a * polynomial(a, -0.57721566490153286061, 0.82246703342411321824, -0.40068563438653142847,
                     0.27058080842778454788, -0.20738555102867398527, 0.16955717699740818995, -0.14404989676884611812,
                     0.12550966952474304242, -0.11133426586956469049);
  const Pack<double, U> at_two =
      b * polynomial(b, 0.42278433509846713939, 0.32246703342411321824, -0.067352301053198095133,
                     0.020580808427784547879, -0.0073855510286739852663, 0.0028905103307415232858,
                     -0.0011927539117032609771, 0.00050966952474304242234);
  constexpr double near = 0.03125;
  return select(vabs(a) < near, at_one, select(vabs(b) < near, at_two, far));
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> vlgamma(const Pack<T, U>& x) {
  if constexpr (single<T>) {
    const Pack<T, U> outside = select((x > T(0)) & (x < infinity<T>), like(x, T(0)), T(1));
    T any = 0;
    for (int u = 0; u < U; ++u) any += horizontal_sum<T>(outside.v[u]);
    if (any == T(0)) return narrow(lgamma_of_positive(widen(x)));
  }
  return sleef_lgamma(x);
}

struct Erf {
  static constexpr Unary id = Unary::erf;
  static constexpr int width = 1;
  static constexpr double two_over_sqrt_pi = 1.12837916709551257390;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return sleef_erf(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return vexp(-(x * x)) * two_over_sqrt_pi;
  }
};
struct Erfc {
  static constexpr Unary id = Unary::erfc;
  static constexpr int width = 1;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return sleef_erfc(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return vexp(-(x * x)) * -Erf::two_over_sqrt_pi;
  }
};
/// x Phi(x), with the normal distribution function itself. Hendrycks and Gimpel: Gaussian error linear units, 2016.
struct Gelu {
  static constexpr Unary id = Unary::gelu;
  static constexpr int width = 1;
  static constexpr double sqrt_half = 0.70710678118654752440, one_over_sqrt_two_pi = 0.39894228040143267794;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    const V half = 0.5 * sleef_erfc(x * -sqrt_half);
    return select(half == 0, 0, x * half);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    const V density = vexp(-0.5 * (x * x)) * one_over_sqrt_two_pi;
    return 0.5 * sleef_erfc(x * -sqrt_half) + select(density == 0, 0, x * density);
  }
};
struct Lgamma {
  static constexpr Unary id = Unary::lgamma;
  static constexpr int width = 1;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vlgamma(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return vdigamma(x);
  }
};
struct Digamma {
  static constexpr Unary id = Unary::digamma;
  static constexpr int width = 1;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vdigamma(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return vtrigamma(x);
  }
};
struct Trigamma {
  static constexpr Unary id = Unary::trigamma;
  static constexpr int width = 1;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vtrigamma(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return vpolygamma(typename V::value_type(2), x);
  }
};
struct Polygamma {
  static constexpr Parametric id = Parametric::polygamma;
  static constexpr int width = 1;
  template <class V, class T>
  TAPESTRY_INLINE V value(const V& x, T order, T) {
    return vpolygamma(order, x);
  }
  template <class V, class T>
  TAPESTRY_INLINE V derivative(const V& x, T order, T) {
    return vpolygamma(order + T(1), x);
  }
};

}  // namespace

template <class T>
void enter_special(ElementwiseKernels<T>& t) {
  enter_unary<T, Erf, Erfc, Gelu, Lgamma, Digamma, Trigamma>(t);
  enter_parametric<T, Polygamma>(t);
}
template void enter_special(ElementwiseKernels<float>&);
template void enter_special(ElementwiseKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
