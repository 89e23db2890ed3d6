#pragma once

#include <cstdint>

#include <tapestry/autodiff/ops/height_width.hpp>
#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

struct Conv1dOptions {
  std::int64_t stride = 1;
  /// Zeros before and after each row.
  std::int64_t padding = 0;
  std::int64_t dilation = 1;
  /// Channels fall into this many groups, each with its own share of the filters.
  std::int64_t groups = 1;
};

struct Conv2dOptions {
  HeightWidth stride = 1;
  /// Zeros on each side.
  HeightWidth padding = 0;
  HeightWidth dilation = 1;
  /// Channels fall into this many groups, each with its own share of the filters.
  std::int64_t groups = 1;
};

struct ConvTranspose1dOptions {
  std::int64_t stride = 1;
  /// Cut off at each end of the result.
  std::int64_t padding = 0;
  std::int64_t dilation = 1;
  std::int64_t groups = 1;
  /// Added to the result's extent at its end; less than the stride.
  std::int64_t output_padding = 0;
};

struct ConvTranspose2dOptions {
  HeightWidth stride = 1;
  /// Cut off on each side of the result.
  HeightWidth padding = 0;
  HeightWidth dilation = 1;
  std::int64_t groups = 1;
  /// Added to the result's extents at their ends; less than the stride.
  HeightWidth output_padding = 0;
};

/// Cross-correlation of x [batch, channels, width] with filters [outputs, channels / groups, kernel], to
/// [batch, outputs, (width + 2 padding - dilation (kernel - 1) - 1) / stride + 1]; bias [outputs].
/// @throws ShapeError where these do not fit, or a filter is wider than its padded input
/// @{
template <class T>
Var<T> conv1d(const Var<T>& x, const Var<T>& weight, const Conv1dOptions& options = {});
template <class T>
Var<T> conv1d(const Var<T>& x, const Var<T>& weight, const Var<T>& bias, const Conv1dOptions& options = {});
/// @}

/// The same over [batch, channels, height, width] with filters [outputs, channels / groups, height, width].
/// @{
template <class T>
Var<T> conv2d(const Var<T>& x, const Var<T>& weight, const Conv2dOptions& options = {});
template <class T>
Var<T> conv2d(const Var<T>& x, const Var<T>& weight, const Var<T>& bias, const Conv2dOptions& options = {});
/// @}

/// The transpose of conv1d(): x [batch, channels, width] and filters [channels, outputs / groups, kernel] to
/// [batch, outputs, (width - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1]; bias [outputs].
/// @throws ShapeError where these do not fit
/// @{
template <class T>
Var<T> conv_transpose1d(const Var<T>& x, const Var<T>& weight, const ConvTranspose1dOptions& options = {});
template <class T>
Var<T> conv_transpose1d(const Var<T>& x, const Var<T>& weight, const Var<T>& bias,
                        const ConvTranspose1dOptions& options = {});
/// @}

/// The transpose of conv2d().
/// @{
template <class T>
Var<T> conv_transpose2d(const Var<T>& x, const Var<T>& weight, const ConvTranspose2dOptions& options = {});
template <class T>
Var<T> conv_transpose2d(const Var<T>& x, const Var<T>& weight, const Var<T>& bias,
                        const ConvTranspose2dOptions& options = {});
/// @}

}  // namespace tapestry
