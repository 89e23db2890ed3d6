#pragma once

#include <cstdint>

namespace tapestry::detail {

/// The extents of a convolution over two axes (one: height 1): x [batch, channels, height, width], w [outputs,
/// channels / groups, kernel_height, kernel_width], y [batch, outputs, y_height, y_width].
struct ConvolutionGeometry {
  std::int64_t batch = 0, channels = 0, height = 1, width = 0;
  std::int64_t outputs = 0, kernel_height = 1, kernel_width = 0;
  std::int64_t y_height = 1, y_width = 0;
  std::int64_t stride_height = 1, stride_width = 1;
  std::int64_t padding_height = 0, padding_width = 0;
  std::int64_t dilation_height = 1, dilation_width = 1;
  std::int64_t groups = 1;
};

// The three products of a convolution: each is linear in two of x, w and y, and gives the third. All are (or with
// `accumulate` are added to) the output. The results do not depend on the number of threads.

/// y = x * w + bias; bias [outputs] may be null.
template <class T>
void convolve(const ConvolutionGeometry& g, const T* x, const T* w, const T* bias, T* y, bool accumulate);
/// x, the gradient of <y, convolve(x, w)> by x, + bias; bias [channels] may be null.
template <class T>
void convolve_transposed(const ConvolutionGeometry& g, const T* y, const T* w, const T* bias, T* x, bool accumulate);
/// w, the gradient of <y, convolve(x, w)> by w.
template <class T>
void convolution_weight(const ConvolutionGeometry& g, const T* x, const T* y, T* w, bool accumulate);

}  // namespace tapestry::detail
