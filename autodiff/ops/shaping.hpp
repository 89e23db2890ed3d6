#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// The same elements in row-major order under another shape; one extent may be -1 and is worked out. No copy.
/// @throws ShapeError where the number of elements differs
template <class T>
Var<T> reshape(const Var<T>& x, std::vector<std::int64_t> shape);
template <class T>
Var<T> reshape(const Var<T>& x, const Shape& shape);
template <class T>
Var<T> reshape(const Var<T>& x, std::initializer_list<std::int64_t> shape) {
  return reshape(x, std::vector<std::int64_t>(shape));
}

/// Repeats axes of extent 1, and adds leading axes, as NumPy does.
/// @throws ShapeError where the shapes do not fit
template <class T>
Var<T> broadcast_to(const Var<T>& x, const Shape& shape);

/// Without the listed axes, which must have extent 1; without all such axes where none are listed. No copy.
template <class T>
Var<T> squeeze(const Var<T>& x, const Axes& axes = {});
/// With axes of extent 1 at the listed places of the result. No copy.
template <class T>
Var<T> expand_dims(const Var<T>& x, const Axes& axes);
template <class T>
Var<T> expand_dims(const Var<T>& x, std::int64_t axis) {
  return expand_dims(x, Axes{axis});
}

/// The whole tensor several times along each (trailing) axis, as NumPy's tile.
template <class T>
Var<T> tile(const Var<T>& x, const std::vector<std::int64_t>& times);
/// Each position of an axis several times in a row.
template <class T>
Var<T> repeat(const Var<T>& x, std::int64_t times, std::int64_t axis);

namespace detail {

/// out (+)= x broadcast to out's shape.
template <class T>
void broadcast_copy(const T* x, const Shape& x_shape, T* out, const Shape& out_shape, bool accumulate);

}  // namespace detail
}  // namespace tapestry
