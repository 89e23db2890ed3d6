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

// Axes listed as {} are all axes. Reductions of no elements give the identity where there is one (sum 0, prod 1,
// logsumexp -inf, norms of order 1 and 2 zero) and are a ShapeError elsewhere.

/// Product over the axes; gradients are exact where elements are zero, too.
template <class T>
Var<T> prod(const Var<T>& x, const Axes& axes = {}, bool keep_dims = false);

/// Largest and smallest element over the axes, NaN where there is one. Elements that tie share the gradient equally.
/// @throws ShapeError over no elements
/// @{
template <class T>
Var<T> max(const Var<T>& x, const Axes& axes = {}, bool keep_dims = false);
template <class T>
Var<T> min(const Var<T>& x, const Axes& axes = {}, bool keep_dims = false);
/// @}

/// Position along the axis of the first largest (smallest) element, or of the first NaN.
/// @throws ShapeError over no elements
/// @{
template <class T>
IndexTensor argmax(const Var<T>& x, std::int64_t axis, bool keep_dims = false);
template <class T>
IndexTensor argmin(const Var<T>& x, std::int64_t axis, bool keep_dims = false);
/// @}
/// The same over all elements in row-major order.
/// @{
template <class T>
std::int64_t argmax(const Var<T>& x);
template <class T>
std::int64_t argmin(const Var<T>& x);
/// @}

/// Sum of squared differences from the mean, by (number - ddof). @throws ShapeError unless there are more than ddof
template <class T>
Var<T> variance(const Var<T>& x, const Axes& axes = {}, std::int64_t ddof = 0, bool keep_dims = false);
/// The square root of variance(); gradient zero where all elements are equal.
template <class T>
Var<T> stddev(const Var<T>& x, const Axes& axes = {}, std::int64_t ddof = 0, bool keep_dims = false);

/// The norm over the axes: sum |x| (order 1), sqrt(sum x^2) without overflow (2), max |x| (infinity). The gradient at
/// zero is zero. @throws Error for another order
template <class T>
Var<T> norm(const Var<T>& x, double order = 2, const Axes& axes = {}, bool keep_dims = false);

/// log(sum(e^x)) over the axes: -inf, with zero gradient, where all elements are; +inf where one is.
template <class T>
Var<T> logsumexp(const Var<T>& x, const Axes& axes = {}, bool keep_dims = false);

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
