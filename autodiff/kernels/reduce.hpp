#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// An array seen as [outer, axis, inner], row-major; what is reduced over the axis is [outer, inner].
struct AxisView {
  std::size_t outer, axis, inner;
};

/// Reductions and scans over the middle axis. With `accumulate`, results are added to what is there.
template <class T>
struct ReduceKernels {
  /// y (+)= sum of x, of x^2, of x z. Pairwise in blocks: the error grows with the logarithm of the length.
  void (*sum)(const T* x, AxisView v, T* y, bool accumulate);
  void (*sum_of_squares)(const T* x, AxisView v, T* y, bool accumulate);
  void (*sum_of_products)(const T* x, const T* z, AxisView v, T* y, bool accumulate);
  /// out (+)= factor g, repeated along the axis: the gradient of a sum or mean.
  void (*expand)(const T* g, T factor, AxisView v, T* out, bool accumulate);
  /// 1 for an empty axis
  void (*product)(const T* x, AxisView v, T* y);
  void (*product_backward)(const T* g, const T* x, AxisView v, T* out, bool accumulate);
  /// NaN where any is; -+inf for an empty axis
  void (*maximum)(const T* x, AxisView v, T* y);
  void (*minimum)(const T* x, AxisView v, T* y);
  /// Both: g is shared equally among the elements that equal y.
  void (*extremum_backward)(const T* g, const T* x, const T* y, AxisView v, T* out, bool accumulate);
  /// The first index of the largest or smallest element, or of the first NaN. The axis is not empty.
  void (*argmax)(const T* x, AxisView v, std::int64_t* index);
  void (*argmin)(const T* x, AxisView v, std::int64_t* index);

  /// log sum e^x: -inf where all are, +inf where any is.
  void (*logsumexp)(const T* x, AxisView v, T* y);
  /// out (+)= g e^(x - y); nothing where y is -inf.
  void (*logsumexp_backward)(const T* g, const T* x, const T* y, AxisView v, T* out, bool accumulate);
  /// A slice of -inf gives zeros (log_softmax: -inf); +inf elements share the mass.
  void (*softmax)(const T* x, AxisView v, T* y);
  void (*log_softmax)(const T* x, AxisView v, T* y);
  /// From the outputs: out (+)= y (g - sum g y), and out (+)= g - e^y sum g.
  void (*softmax_backward)(const T* g, const T* y, AxisView v, T* out, bool accumulate);
  void (*log_softmax_backward)(const T* g, const T* y, AxisView v, T* out, bool accumulate);

  /// Running sum along the axis, from its end where `reverse`. y may be x in all scans.
  void (*cumsum)(const T* x, AxisView v, T* y, bool reverse);
  void (*cumprod)(const T* x, AxisView v, T* y);
  void (*logcumsumexp)(const T* x, AxisView v, T* y);
  /// Exact where elements are zero or -inf; nothing is divided. `out` is none of the inputs.
  void (*cumprod_backward)(const T* g, const T* x, AxisView v, T* out, bool accumulate);
  void (*logcumsumexp_backward)(const T* g, const T* x, const T* y, AxisView v, T* out, bool accumulate);
};

}  // namespace tapestry::detail
