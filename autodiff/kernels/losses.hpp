#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Losses of a prediction x and a target t, elementwise. The order is that of the kernel table.
enum class PairLoss {
  binary_cross_entropy,  ///< of x as a logit
  squared,
  absolute,
  huber,  ///< with parameter delta
  hinge,
  count
};

template <class T>
struct LossKernels {
  /// y = loss(x, t; p)
  void (*value[static_cast<int>(PairLoss::count)])(const T* x, const T* t, T p, T* y, std::size_t n);
  /// out (+)= g dloss/dx, and g dloss/dt. A stride of 0 repeats the first g. Zero where g is.
  void (*gradient_x[static_cast<int>(PairLoss::count)])(const T* g, std::size_t stride_g, const T* x, const T* t, T p,
                                                        T* out, std::size_t n, bool accumulate);
  void (*gradient_t[static_cast<int>(PairLoss::count)])(const T* g, std::size_t stride_g, const T* x, const T* t, T p,
                                                        T* out, std::size_t n, bool accumulate);

  /// Of each row of x: the largest element, and the logarithm of the sum of e^(x - largest), such that the
  /// log-probability of an element is x - largest - log_sum, where the difference of equal infinities counts as zero.
  void (*log_normalizer)(const T* x, std::size_t rows, std::size_t columns, T* largest, T* log_sum);
  /// out (+)= a p - b w: probabilities p of each row, a and b by row; w by element with a stride from row to row (0 for
  /// the same in each), or null.
  void (*weighted_difference)(const T* x, std::size_t rows, std::size_t columns, const T* largest, const T* log_sum,
                              const T* a, const T* b, const T* w, std::size_t stride_w, T* out, bool accumulate);
};

}  // namespace tapestry::detail
