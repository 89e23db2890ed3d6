#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>
#include <tapestry/autodiff/kernels/reduce.hpp>

namespace tapestry::detail {

/// The same box of elements in two arrays, each with its own strides in elements. Strides of the source may be zero
/// (broadcasting) or negative (flipping); no element of the target is met twice. Axes in any order; those that belong
/// together are joined by the kernel.
struct StridedBox {
  static constexpr int most_axes = 16;
  int axes = 0;
  std::int64_t extent[most_axes];
  std::int64_t from[most_axes];
  std::int64_t to[most_axes];

  void add(std::int64_t length, std::int64_t from_stride, std::int64_t to_stride) {
    extent[axes] = length;
    from[axes] = from_stride;
    to[axes] = to_stride;
    ++axes;
  }
};

/// Kernels that move elements. Indices are not checked here.
template <class T>
struct LayoutKernels {
  /// y[c * stride_y + r] = x[r * stride_x + c]
  void (*transpose)(const T* x, std::size_t rows, std::size_t columns, std::size_t stride_x, T* y,
                    std::size_t stride_y);
  /// y (+)= x over a box: permuting, broadcasting, slicing with steps, flipping, and their gradients.
  void (*copy)(const T* x, T* y, const StridedBox& box, bool accumulate);
  /// y[o, k, i] = x[o, index[k], i], with n indices: y is [outer, n, inner].
  void (*gather)(const T* x, AxisView v, const std::int64_t* index, std::size_t n, T* y);
  /// out[o, index[k], i] += g[o, k, i]: in the order of k, so that equal indices add up the same way every time.
  void (*scatter_add)(const T* g, const std::int64_t* index, std::size_t n, T* out, AxisView v);
  /// y[o, k, i] = x[o, index[o, k, i], i], and its gradient.
  void (*gather_along)(const T* x, AxisView v, const std::int64_t* index, std::size_t n, T* y);
  void (*scatter_add_along)(const T* g, const std::int64_t* index, std::size_t n, T* out, AxisView v);
};

}  // namespace tapestry::detail
