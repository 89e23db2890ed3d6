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

namespace detail {

/// out (+)= x broadcast to out's shape.
template <class T>
void broadcast_copy(const T* x, const Shape& x_shape, T* out, const Shape& out_shape, bool accumulate);

}  // namespace detail
}  // namespace tapestry
