#include <tapestry/autodiff/kernels/elementwise_loops.hpp>
#include <tapestry/autodiff/kernels/sleef.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

TAPESTRY_SLEEF_BINARY(pow, u10)
TAPESTRY_SLEEF_BINARY(atan2, u10)

struct Pow {
  static constexpr Binary id = Binary::pow;
  static constexpr int width = 1;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    return sleef_pow(a, b);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V& a, const V& b, const V&) {
    return select(b == 0, 0, b * sleef_pow(a, b - 1));
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V& b, const V& y) {
    return select((y == 0) | ((a == 0) & (b >= 0)), 0, y * vlog(a));
  }
};
/// a log b, 0 where a is 0.
struct Xlogy {
  static constexpr Binary id = Binary::xlogy;
  static constexpr int width = 2;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    return select((a == 0) & (b == b), 0, a * vlog(b));
  }
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V& a, const V& b, const V&) {
    return select((a == 0) & (b <= 0), 0, vlog(b));
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V& b, const V&) {
    return select((a == 0) & (b == b), 0, a / b);
  }
};
struct Atan2 {
  static constexpr Binary id = Binary::atan2;
  static constexpr int width = 1;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    return sleef_atan2(a, b);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V& a, const V& b, const V&) {
    return b / (a * a + b * b);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V& b, const V&) {
    return -(a / (a * a + b * b));
  }
};
/// log(e^a + e^b)
struct LogAddExp {
  static constexpr Binary id = Binary::logaddexp;
  static constexpr int width = 2;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    const V larger = select((a > b) | (a != a), a, b);
    const V sum = larger + log1p_of_fraction(vexp(-vabs(a - b)));
    return select(vabs(larger) == infinity<typename V::value_type>, larger, sum);
  }
  /// e^a / (e^a + e^b): 0 where a is -inf, half each where both are +inf.
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V& a, const V& b, const V&) {
    const V share = select(a == b, like(a, 0.5), vsigmoid(a - b));
    return select(a == -infinity<typename V::value_type>, 0, share);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V& b, const V& y) {
    return derivative_a(b, a, y);
  }
};
struct Power {
  static constexpr Parametric id = Parametric::power;
  static constexpr int width = 2;
  template <class V, class T>
  TAPESTRY_INLINE V value(const V& x, T p, T) {
    if (p == T(1)) return x;
    if (p == T(2)) return x * x;
    if (p == T(3)) return x * x * x;
    if (p == T(-1)) return T(1) / x;
    if (p == T(-2)) return T(1) / (x * x);
    // x + 0 turns -0 into 0: unlike the square root, the power of -0 is positive.
    if (p == T(0.5)) return select(x == -infinity<T>, infinity<T>, vsqrt(x + T(0)));
    if (p == T(-0.5)) return select(x == -infinity<T>, T(0), T(1) / vsqrt(x + T(0)));
    return sleef_pow(x, like(x, p));
  }
  template <class V, class T>
  TAPESTRY_INLINE V derivative(const V& x, T p, T) {
    if (p == T(0)) return like(x, T(0));
    return p * value(x, p - T(1), T(0));
  }
};

}  // namespace

template <class T>
void enter_binary_special(ElementwiseKernels<T>& t) {
  enter_binary<T, Pow, Xlogy, Atan2, LogAddExp>(t);
  enter_parametric<T, Power>(t);
}
template void enter_binary_special(ElementwiseKernels<float>&);
template void enter_binary_special(ElementwiseKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
