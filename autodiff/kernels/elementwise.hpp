#pragma once

#include <cstddef>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Elementwise functions of one argument. The order is that of the kernel table.
enum class Unary {
  negative, square, sqrt, rsqrt, reciprocal, exp, expm1, log, log1p, log_sigmoid, sigmoid, tanh, relu, softplus,
  abs, sign, floor, round,
  count
};

/// Elementwise functions of two arguments.
enum class Binary { add, subtract, multiply, divide, maximum, minimum, count };

/// A stride of 0 repeats the first element, 1 walks along.
template <class T>
struct ElementwiseKernels {
  /// y = f(x)
  void (*unary[static_cast<int>(Unary::count)])(const T* x, T* y, std::size_t n);
  /// out (+)= g * f'(x), with y = f(x) at hand
  void (*unary_backward[static_cast<int>(Unary::count)])(const T* g, const T* x, const T* y, T* out, std::size_t n,
                                                        bool accumulate);
  /// y = f(a, b)
  void (*binary[static_cast<int>(Binary::count)])(const T* a, std::size_t stride_a, const T* b, std::size_t stride_b,
                                                 T* y, std::size_t n);
  /// out (+)= g * df/da, and g * df/db
  void (*binary_backward_a[static_cast<int>(Binary::count)])(const T* g, const T* a, std::size_t stride_a, const T* b,
                                                            std::size_t stride_b, const T* y, T* out, std::size_t n,
                                                            bool accumulate);
  void (*binary_backward_b[static_cast<int>(Binary::count)])(const T* g, const T* a, std::size_t stride_a, const T* b,
                                                            std::size_t stride_b, const T* y, T* out, std::size_t n,
                                                            bool accumulate);
  /// out += x
  void (*accumulate)(const T* x, T* out, std::size_t n);
  /// out = value
  void (*fill)(T value, T* out, std::size_t n);
  /// The sum of n elements, pairwise in blocks: the same for every number of threads.
  T (*sum)(const T* x, std::size_t n);
  /// Whether all are finite.
  bool (*all_finite)(const T* x, std::size_t n);
};

}  // namespace tapestry::detail
