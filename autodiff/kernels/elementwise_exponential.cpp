#include <tapestry/autodiff/kernels/elementwise_loops.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

struct Exp {
  static constexpr Unary id = Unary::exp;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vexp(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return y;
  }
};
struct Expm1 {
  static constexpr Unary id = Unary::expm1;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vexpm1(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return y + 1;
  }
};
struct Log {
  static constexpr Unary id = Unary::log;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vlog(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return 1 / x;
  }
};
struct Log1p {
  static constexpr Unary id = Unary::log1p;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vlog1p(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return 1 / (x + 1);
  }
};
struct LogSigmoid {
  static constexpr Unary id = Unary::log_sigmoid;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return -vsoftplus(-x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return vsigmoid(-x);
  }
};
/// log(x / (1 - x)); near 1/2 through log1p, where the two logarithms would cancel.
struct Logit {
  static constexpr Unary id = Unary::logit;
  static constexpr int width = 2;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    // With z = min(x, 1-x) / max(x, 1-x) <= 1 the result is +-log z, and z - 1 = -|1 - 2x| / max(x, 1-x).
    const V rest = 1 - x;
    const auto upper = x > 0.5;
    const V small = select(upper, rest, x), large = select(upper, x, rest);
    const V gap = vabs(1 - (x + x));
    const V z = small / large;
    const V y = select(z > 0.5, vlog1p(-(gap / large)), vlog(z));
    return select(upper, -y, y);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return 1 / (x * (1 - x));
  }
};

}  // namespace

template <class T>
void enter_exponential(ElementwiseKernels<T>& t) {
  enter_unary<T, Exp, Expm1, Log, Log1p, LogSigmoid, Logit>(t);
}
template void enter_exponential(ElementwiseKernels<float>&);
template void enter_exponential(ElementwiseKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
