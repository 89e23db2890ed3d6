#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

// Indices count from 0 to the axis' extent; others, negative ones too, are an IndexError that names operation,
// value, position, axis and shape, thrown before anything is written.

/// Slices of x along an axis: of shape [x before the axis, indices' shape, x after it].
/// @throws IndexError, ShapeError for an absent axis
template <class T>
Var<T> take(const Var<T>& x, const Indices& indices, std::int64_t axis = 0);
/// take() by another name.
template <class T>
Var<T> gather(const Var<T>& x, const Indices& indices, std::int64_t axis = 0);
/// take() by a list of indices. @throws ShapeError unless they have one axis
template <class T>
Var<T> index_select(const Var<T>& x, std::int64_t axis, const Indices& indices);
/// x with values added to its slices: values have the shape that take() gives, equal indices add up.
/// @throws IndexError, ShapeError
template <class T>
Var<T> scatter_add(const Var<T>& x, const Indices& indices, const Var<T>& values, std::int64_t axis = 0);

/// Sums of the slices of x along an axis that have the same segment id in 0..count: that axis becomes `count` long.
/// @throws IndexError, ShapeError unless there is one id for each slice
template <class T>
Var<T> segment_sum(const Var<T>& x, const Indices& segments, std::int64_t count, std::int64_t axis = 0);

/// x[i, indices[i, k], j] for each k: indices has x's rank, and its other axes broadcast against those of x.
/// @throws IndexError, ShapeError
template <class T>
Var<T> take_along_axis(const Var<T>& x, const Indices& indices, std::int64_t axis);
/// x with values in the places that take_along_axis() reads; of several for one place the last one counts.
/// @throws IndexError, ShapeError unless values and indices have the same shape, which is x's but for the axis
template <class T>
Var<T> put_along_axis(const Var<T>& x, const Indices& indices, const Var<T>& values, std::int64_t axis);
/// x with values added in the places that take_along_axis() reads.
/// @throws IndexError, ShapeError unless values and indices have the same shape, which is x's but for the axis
template <class T>
Var<T> scatter_add_along_axis(const Var<T>& x, const Indices& indices, const Var<T>& values, std::int64_t axis);

/// Rows of a table [rows, ...]: take(table, indices, 0), with a gradient by rows that stays sparse in the leaf
/// (Var::sparse_gradient()) until something dense is added. @throws IndexError
template <class T>
Var<T> embedding(const Var<T>& table, const Indices& indices);

/// Zeros with a one at each index, along a new last axis of the given length. A constant. @throws IndexError
template <class T>
Var<T> one_hot(const Indices& indices, std::int64_t classes);

namespace detail {

/// @throws IndexError naming operation, value, position, axis and shape unless all are within that axis
void check_indices(std::string_view operation, const Indices& indices, const Shape& shape, int axis);

}  // namespace detail
}  // namespace tapestry
