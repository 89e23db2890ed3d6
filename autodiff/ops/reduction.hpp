#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Sum over the axes (all where none are listed).
/// @throws ShapeError on absent or repeated axes
template <class T>
Var<T> sum(const Var<T>& x, const Axes& axes = {}, bool keep_dims = false);

/// Mean over the axes (all where none are listed).
/// @throws ShapeError on absent or repeated axes, or where there is nothing to average
template <class T>
Var<T> mean(const Var<T>& x, const Axes& axes = {}, bool keep_dims = false);

/// The sum over the axes along which `shape` would be broadcast to x: the transpose of broadcast_to().
/// @throws ShapeError where it would not
template <class T>
Var<T> sum_to(const Var<T>& x, const Shape& shape);

namespace detail {

/// out (+)= the sum of x over the axes along which out is broadcast to x.
template <class T>
void sum_to(const T* x, const Shape& x_shape, T* out, const Shape& out_shape, bool accumulate);

}  // namespace detail
}  // namespace tapestry
