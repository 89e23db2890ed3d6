#pragma once

#include <optional>

#include <tapestry/autodiff/ops/height_width.hpp>
#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

struct Pool1dOptions {
  /// Between windows: by default they lie side by side.
  std::optional<std::int64_t> stride = std::nullopt;
  /// Before and after each row, at most half of a window: never the maximum, and zeros for an average.
  std::int64_t padding = 0;
  /// Whether an average counts padding.
  bool count_padding = true;
};

struct Pool2dOptions {
  /// Between windows: by default they lie side by side.
  std::optional<HeightWidth> stride = std::nullopt;
  /// On each side, at most half of a window: never the maximum, and zeros for an average.
  HeightWidth padding = 0;
  /// Whether an average counts padding.
  bool count_padding = true;
};

/// Maxima, and where they come from: positions within [width] or, counted row by row, within [height, width].
template <class T>
struct MaxPoolResult {
  Var<T> value;
  Indices indices;
};

/// The largest element of windows along the last axis (two: of the last two axes); there may be any leading axes.
/// Of equal elements the first gets the gradient. A NaN is larger than all.
/// @throws ShapeError where a window is larger than the padded x, or the padding larger than half a window
/// @{
template <class T>
Var<T> max_pool1d(const Var<T>& x, std::int64_t window, const Pool1dOptions& options = {});
template <class T>
Var<T> max_pool2d(const Var<T>& x, HeightWidth window, const Pool2dOptions& options = {});
template <class T>
MaxPoolResult<T> max_pool1d_with_indices(const Var<T>& x, std::int64_t window, const Pool1dOptions& options = {});
template <class T>
MaxPoolResult<T> max_pool2d_with_indices(const Var<T>& x, HeightWidth window, const Pool2dOptions& options = {});
/// @}

/// The mean of such windows.
/// @{
template <class T>
Var<T> avg_pool1d(const Var<T>& x, std::int64_t window, const Pool1dOptions& options = {});
template <class T>
Var<T> avg_pool2d(const Var<T>& x, HeightWidth window, const Pool2dOptions& options = {});
/// @}

/// A given number of windows that cover x evenly: window i of n covers [floor(i size / n), ceil((i + 1) size / n)).
/// @throws ShapeError for no windows, or an x without elements along these axes
/// @{
template <class T>
Var<T> adaptive_avg_pool1d(const Var<T>& x, std::int64_t windows);
template <class T>
Var<T> adaptive_avg_pool2d(const Var<T>& x, HeightWidth windows);
template <class T>
Var<T> adaptive_max_pool1d(const Var<T>& x, std::int64_t windows);
template <class T>
Var<T> adaptive_max_pool2d(const Var<T>& x, HeightWidth windows);
/// @}

/// The values at the places that a max pooling gave, added up where two are the same, and zeros elsewhere.
/// @param size of the result's last axis (last two axes)
/// @throws ShapeError where values and indices differ in shape, IndexError for a place outside
/// @{
template <class T>
Var<T> max_unpool1d(const Var<T>& x, const Indices& indices, std::int64_t size);
template <class T>
Var<T> max_unpool2d(const Var<T>& x, const Indices& indices, HeightWidth size);
/// @}

}  // namespace tapestry
