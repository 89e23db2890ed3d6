#include <tapestry/autodiff/kernels/elementwise_loops.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

struct Sigmoid {
  static constexpr Unary id = Unary::sigmoid;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vsigmoid(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return y * (1 - y);
  }
};
struct Tanh {
  static constexpr Unary id = Unary::tanh;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vtanh(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return (1 - y) * (1 + y);
  }
};
struct Softplus {
  static constexpr Unary id = Unary::softplus;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return vsoftplus(x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V& x, const V&) {
    return vsigmoid(x);
  }
};
struct Relu {
  static constexpr Unary id = Unary::relu;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return greater_or_second(0, x);
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return select(y > 0, like(y, 1), 0);
  }
};
/// Klambauer, Unterthiner, Mayr, Hochreiter: Self-normalizing neural networks, 2017.
struct Selu {
  static constexpr Unary id = Unary::selu;
  static constexpr int width = 4;
  static constexpr double lambda = 1.0507009873554804934193349852946, alpha = 1.6732632423543772848170429916717;
  template <class V>
  TAPESTRY_INLINE V value(const V& x) {
    return select(x > 0, x * lambda, vexpm1(x) * (lambda * alpha));
  }
  template <class V>
  TAPESTRY_INLINE V derivative(const V&, const V& y) {
    return select(y > 0, like(y, lambda), y + lambda * alpha);
  }
};
struct LeakyRelu {
  static constexpr Parametric id = Parametric::leaky_relu;
  static constexpr int width = 4;
  template <class V, class T>
  TAPESTRY_INLINE V value(const V& x, T slope, T) {
    return select(x > 0, x, x * slope);
  }
  template <class V, class T>
  TAPESTRY_INLINE V derivative(const V& x, T slope, T) {
    return select(x > 0, like(x, 1), slope);
  }
};
struct Elu {
  static constexpr Parametric id = Parametric::elu;
  static constexpr int width = 4;
  template <class V, class T>
  TAPESTRY_INLINE V value(const V& x, T alpha, T) {
    return select(x > 0, x, vexpm1(x) * alpha);
  }
  template <class V, class T>
  TAPESTRY_INLINE V derivative(const V& x, T alpha, T) {
    return select(x > 0, like(x, 1), vexp(x) * alpha);
  }
};
struct Clamp {
  static constexpr Parametric id = Parametric::clamp;
  static constexpr int width = 4;
  template <class V, class T>
  TAPESTRY_INLINE V value(const V& x, T low, T high) {
    return less_or_second(high, greater_or_second(low, x));
  }
  template <class V, class T>
  TAPESTRY_INLINE V derivative(const V& x, T low, T high) {
    return select((x >= low) & (x <= high), like(x, 1), 0);
  }
};

}  // namespace

template <class T>
void enter_activations(ElementwiseKernels<T>& t) {
  enter_unary<T, Sigmoid, Tanh, Softplus, Relu, Selu>(t);
  enter_parametric<T, LeakyRelu, Elu, Clamp>(t);
}
template void enter_activations(ElementwiseKernels<float>&);
template void enter_activations(ElementwiseKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
