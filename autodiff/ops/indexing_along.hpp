#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry::detail {

/// y = x at the indices, which have x's shape but for the axis, and out += g there.
template <class T>
void gather_along(const T* x, const Shape& shape, int axis, const Indices& indices, T* y);
template <class T>
void add_along(const T* g, const Indices& indices, T* out, const Shape& shape, int axis);

/// take_along_axis() under another name, with indices that have x's shape but for the axis.
template <class T>
Var<T> take_along(std::string_view name, const Var<T>& x, const Indices& indices, int axis);
/// Its transpose: sums of values in an array of zeros.
template <class T>
Var<T> scatter_along(const Var<T>& values, const Indices& indices, int axis, std::int64_t extent);

}  // namespace tapestry::detail
