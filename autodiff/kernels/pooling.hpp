#pragma once

#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// The windows of a pooling over planes [height, width] to [y_height, y_width]: along each axis, window i covers
/// [begin[i], end[i]), which is not empty.
struct PoolWindows {
  std::int64_t height, width, y_height, y_width;
  const std::int64_t* row_begin;
  const std::int64_t* row_end;
  const std::int64_t* column_begin;
  const std::int64_t* column_end;
  bool pairs;  // all windows are 2 x 2, side by side
};

template <class T>
struct PoolKernels {
  /// The largest element of each window, and its place in its plane: the first of several, or the first NaN.
  void (*maximum)(const T* x, std::int64_t planes, const PoolWindows& w, T* y, std::int64_t* index);
  /// The sum over each window times row_factor[row] column_factor[column], and its gradient.
  void (*average)(const T* x, std::int64_t planes, const PoolWindows& w, const T* row_factor, const T* column_factor,
                  T* y);
  void (*average_backward)(const T* g, std::int64_t planes, const PoolWindows& w, const T* row_factor,
                           const T* column_factor, T* out);
  /// Planes of `size` elements with value j at index[j] (added up where that is the same), zeros elsewhere.
  void (*scatter)(const T* values, std::int64_t planes, std::int64_t n, const std::int64_t* index, std::int64_t size,
                  T* out, bool accumulate);
  /// Element index[j] of each plane.
  void (*gather)(const T* x, std::int64_t planes, std::int64_t n, const std::int64_t* index, std::int64_t size, T* out,
                 bool accumulate);
};

}  // namespace tapestry::detail
