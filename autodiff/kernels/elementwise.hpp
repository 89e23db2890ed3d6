#pragma once

#include <cstddef>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Elementwise functions of one argument. The order is that of the kernel table.
enum class Unary {
  negative,
  square,
  sqrt,
  rsqrt,
  reciprocal,
  exp,
  expm1,
  log,
  log1p,
  log_sigmoid,
  sigmoid,
  tanh,
  relu,
  softplus,
  abs,
  sign,
  floor,
  round,
  selu,
  gelu,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  erf,
  erfc,
  lgamma,
  digamma,
  trigamma,
  logit,
  count
};

/// Elementwise functions of one argument and two parameters p and q.
enum class Parametric {
  leaky_relu,  ///< x where x > 0, else p x
  elu,         ///< x where x > 0, else p (e^x - 1)
  clamp,       ///< x in [p, q]; gradient 1 there, ends included
  power,       ///< x^p
  polygamma,   ///< the p-th derivative of digamma, p a whole number up to 60
  count
};

/// Elementwise functions of two arguments. Comparisons give 1 or 0 and have no gradient.
enum class Binary {
  add,
  subtract,
  multiply,
  divide,
  maximum,
  minimum,
  pow,
  xlogy,
  atan2,
  logaddexp,
  less,
  less_equal,
  greater,
  greater_equal,
  equal,
  not_equal,
  count
};

/// Whether the derivative is zero wherever it exists: backward kernels then ignore g, x and y.
constexpr bool zero_derivative(Unary f) {
  return f == Unary::sign || f == Unary::floor || f == Unary::round;
}
constexpr bool zero_derivative(Binary f) {
  return f >= Binary::less;
}

/// Whether unary_backward reads y; the argument may be null where it does not.
constexpr bool backward_reads_output(Unary f) {
  switch (f) {
    case Unary::sqrt:
    case Unary::rsqrt:
    case Unary::reciprocal:
    case Unary::exp:
    case Unary::expm1:
    case Unary::sigmoid:
    case Unary::tanh:
    case Unary::relu:
    case Unary::selu:
    case Unary::tan:
      return true;
    default:
      return false;
  }
}
/// Whether unary_backward reads x; the argument may be null where it does not.
constexpr bool backward_reads_input(Unary f) {
  return f != Unary::negative && !zero_derivative(f) && !backward_reads_output(f);
}
/// Whether the kernels behind binary_backward_a and _b read a and b (both), and y. Null is allowed where they do not.
constexpr bool backward_reads_inputs(Binary f) {
  return f != Binary::add && f != Binary::subtract && !zero_derivative(f);
}
constexpr bool backward_reads_output(Binary f) {
  return f == Binary::pow;
}

/// A stride of 0 repeats the first element, 1 walks along. Outputs may be the same array as an input that is walked
/// along. In all backward kernels a zero g gives a zero gradient, even where the derivative is infinite or not a
/// number: what was masked out stays out.
template <class T>
struct ElementwiseKernels {
  /// y = f(x)
  void (*unary[static_cast<int>(Unary::count)])(const T* x, T* y, std::size_t n);
  /// out (+)= g * f'(x), with y = f(x) at hand
  void (*unary_backward[static_cast<int>(Unary::count)])(const T* g, const T* x, const T* y, T* out, std::size_t n,
                                                         bool accumulate);
  /// y = f(x; p, q)
  void (*parametric[static_cast<int>(Parametric::count)])(const T* x, T p, T q, T* y, std::size_t n);
  /// out (+)= g * f'(x; p, q)
  void (*parametric_backward[static_cast<int>(Parametric::count)])(const T* g, const T* x, T p, T q, T* out,
                                                                   std::size_t n, bool accumulate);
  /// y = f(a, b)
  void (*binary[static_cast<int>(Binary::count)])(const T* a, std::size_t stride_a, const T* b, std::size_t stride_b,
                                                  T* y, std::size_t n);
  /// out (+)= g * df/da, and g * df/db. Where maximum or minimum meets a tie, each side gets half.
  void (*binary_backward_a[static_cast<int>(Binary::count)])(const T* g, const T* a, std::size_t stride_a, const T* b,
                                                             std::size_t stride_b, const T* y, T* out, std::size_t n,
                                                             bool accumulate);
  void (*binary_backward_b[static_cast<int>(Binary::count)])(const T* g, const T* a, std::size_t stride_a, const T* b,
                                                             std::size_t stride_b, const T* y, T* out, std::size_t n,
                                                             bool accumulate);
  /// y = condition != 0 ? a : b
  void (*select)(const T* condition, std::size_t stride_condition, const T* a, std::size_t stride_a, const T* b,
                 std::size_t stride_b, T* y, std::size_t n);
  /// out (+)= (condition != 0) == side ? g : 0: the gradient to a (side true) or to b.
  void (*select_backward)(const T* g, const T* condition, std::size_t stride_condition, bool side, T* out,
                          std::size_t n, bool accumulate);
  /// out += x
  void (*accumulate)(const T* x, T* out, std::size_t n);
  /// out += factor * x
  void (*add_scaled)(T factor, const T* x, T* out, std::size_t n);
  /// y = factor * x
  void (*scale)(T factor, const T* x, T* y, std::size_t n);
  /// out = value
  void (*fill)(T value, T* out, std::size_t n);
  /// The sum of n elements, pairwise in blocks: the same for every number of threads.
  T (*sum)(const T* x, std::size_t n);
  /// Whether all are finite.
  bool (*all_finite)(const T* x, std::size_t n);
};

}  // namespace tapestry::detail
