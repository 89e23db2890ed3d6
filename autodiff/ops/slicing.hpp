#pragma once

#include <limits>
#include <utility>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Positions start, start + step, ... before stop along an axis. Negative positions count from the end; what is left
/// out reaches to the end (for a negative step, to the beginning).
struct Slice {
  static constexpr std::int64_t whole = std::numeric_limits<std::int64_t>::min();
  std::int64_t start = whole;
  std::int64_t stop = whole;
  std::int64_t step = 1;
};

/// A part of x: a slice for each leading axis, the other axes whole. Backward adds to that part of x's gradient only.
/// @throws IndexError where a position is outside x, ShapeError for a step of 0 or too many slices
template <class T>
Var<T> slice(const Var<T>& x, const std::vector<Slice>& slices);
/// A part of one axis.
template <class T>
Var<T> slice(const Var<T>& x, std::int64_t axis, Slice range);
/// One position of an axis, which is dropped: select(x, 1, t) is x[:, t]. @throws IndexError
template <class T>
Var<T> select(const Var<T>& x, std::int64_t axis, std::int64_t index);

/// Consecutive parts of the given extents. @throws ShapeError unless they add up to the axis
template <class T>
std::vector<Var<T>> split(const Var<T>& x, const std::vector<std::int64_t>& extents, std::int64_t axis = 0);
/// Equal parts. @throws ShapeError unless the axis divides
template <class T>
std::vector<Var<T>> chunk(const Var<T>& x, std::int64_t parts, std::int64_t axis = 0);
/// All positions of an axis, which is dropped.
template <class T>
std::vector<Var<T>> unbind(const Var<T>& x, std::int64_t axis = 0);

/// x with (before, after) elements of a constant added around each axis. @throws ShapeError
template <class T>
Var<T> pad(const Var<T>& x, const std::vector<std::pair<std::int64_t, std::int64_t>>& widths,
           std::type_identity_t<T> value = 0);

/// The listed axes (all where none are listed) backwards.
template <class T>
Var<T> flip(const Var<T>& x, const Axes& axes = {});

/// Axis i of the result is axis axes[i] of x; in reverse order where none are listed. No copy where the elements stay
/// in order. @throws ShapeError unless the axes are a permutation
template <class T>
Var<T> transpose(const Var<T>& x, const Axes& axes = {});
/// The same with all axes listed. @throws ShapeError unless they are a permutation
template <class T>
Var<T> permute(const Var<T>& x, const Axes& axes);
template <class T>
Var<T> swap_axes(const Var<T>& x, std::int64_t a, std::int64_t b);

/// x[..., i, i + offset, ...] over two axes, which make room for one at the end.
template <class T>
Var<T> diagonal(const Var<T>& x, std::int64_t offset = 0, std::int64_t axis1 = -2, std::int64_t axis2 = -1);
/// Matrices with the last axis of x on a diagonal and zeros elsewhere.
template <class T>
Var<T> diag_embed(const Var<T>& x, std::int64_t offset = 0);
/// The sum of the diagonal of the last two axes.
template <class T>
Var<T> trace(const Var<T>& x, std::int64_t offset = 0);

}  // namespace tapestry
