#include <tapestry/autodiff/kernels/elementwise_loops.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

struct Negative {
  static constexpr Unary id = Unary::negative;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return -x;
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return like(x, typename V::value_type(-1));
  }
};
struct Square {
  static constexpr Unary id = Unary::square;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return x * x;
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return x + x;
  }
};
struct Sqrt {
  static constexpr Unary id = Unary::sqrt;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vsqrt(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return 0.5 / y;
  }
};
struct Rsqrt {
  static constexpr Unary id = Unary::rsqrt;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return 1 / vsqrt(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return (y * -0.5) * (y * y);
  }
};
struct Reciprocal {
  static constexpr Unary id = Unary::reciprocal;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return 1 / x;
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return -(y * y);
  }
};
struct Abs {
  static constexpr Unary id = Unary::abs;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vabs(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return select(x > 0, like(x, 1), select(x < 0, -1, x));
  }
};
struct Sign {
  static constexpr Unary id = Unary::sign;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return select(x > 0, 1, select(x < 0, -1, x));
  }
};
struct Floor {
  static constexpr Unary id = Unary::floor;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vfloor(x);
  }
};
struct Round {
  static constexpr Unary id = Unary::round;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vround(x);
  }
};

}  // namespace

template <class T>
void enter_arithmetic(ElementwiseKernels<T>& t) {
  enter_unary<T, Negative, Square, Sqrt, Rsqrt, Reciprocal, Abs, Sign, Floor, Round>(t);
}
template void enter_arithmetic(ElementwiseKernels<float>&);
template void enter_arithmetic(ElementwiseKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
