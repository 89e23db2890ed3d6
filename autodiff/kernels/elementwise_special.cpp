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
    return sleef_lgamma(x);
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
