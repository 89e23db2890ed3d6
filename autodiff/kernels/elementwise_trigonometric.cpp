#include <tapestry/autodiff/kernels/elementwise_loops.hpp>
#include <tapestry/autodiff/kernels/sleef.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

TAPESTRY_SLEEF(sin, u10)
TAPESTRY_SLEEF(cos, u10)
TAPESTRY_SLEEF(tan, u10)
TAPESTRY_SLEEF(asin, u10)
TAPESTRY_SLEEF(acos, u10)
TAPESTRY_SLEEF(atan, u10)
TAPESTRY_SLEEF(sinh, u10)
TAPESTRY_SLEEF(cosh, u10)

// SLEEF's sinh and cosh overflow too early. Far out both are e^(|x| - c) e^c / 2, where |x| - c is exact.
template <class V>
TAPESTRY_INLINE V half_exp(const V& magnitude) {
  return vexp(magnitude - 0.693359375) * 1.0002122169548873649;
}
template <class V>
TAPESTRY_INLINE V vsinh(const V& x) {
  const V magnitude = vabs(x);
  return select(magnitude > (single<typename V::value_type> ? 80 : 700), copy_sign(half_exp(magnitude), x),
                sleef_sinh(x));
}
template <class V>
TAPESTRY_INLINE V vcosh(const V& x) {
  const V magnitude = vabs(x);
  return select(magnitude > (single<typename V::value_type> ? 80 : 700), half_exp(magnitude), sleef_cosh(x));
}

#define TAPESTRY_FUNCTION(Name, name, value_of_x, derivative_of_x) \
  struct Name {                                                    \
    static constexpr Unary id = Unary::name;                       \
    static constexpr int width = 1;                                \
    template <class V>                                             \
    TAPESTRY_INLINE V value(const V& x) {                          \
      return value_of_x;                                           \
    }                                                              \
    template <class V>                                             \
    TAPESTRY_INLINE V derivative(const V& x, const V&) {           \
      return derivative_of_x;                                      \
    }                                                              \
  };
TAPESTRY_FUNCTION(Sin, sin, sleef_sin(x), sleef_cos(x))
TAPESTRY_FUNCTION(Cos, cos, sleef_cos(x), -sleef_sin(x))
TAPESTRY_FUNCTION(Asin, asin, sleef_asin(x), 1 / vsqrt((1 - x) * (1 + x)))
TAPESTRY_FUNCTION(Acos, acos, sleef_acos(x), -1 / vsqrt((1 - x) * (1 + x)))
TAPESTRY_FUNCTION(Atan, atan, sleef_atan(x), 1 / (1 + x * x))
TAPESTRY_FUNCTION(Sinh, sinh, vsinh(x), vcosh(x))
TAPESTRY_FUNCTION(Cosh, cosh, vcosh(x), vsinh(x))
#undef TAPESTRY_FUNCTION

struct Tan {
  static constexpr Unary id = Unary::tan;
  static constexpr int width = 1;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return sleef_tan(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return 1 + y * y;
  }
};

}  // namespace

template <class T>
void enter_trigonometric(ElementwiseKernels<T>& t) {
  enter_unary<T, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh>(t);
}
template void enter_trigonometric(ElementwiseKernels<float>&);
template void enter_trigonometric(ElementwiseKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
