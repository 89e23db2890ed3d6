#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry::detail {

/// Sums of chosen elements of x: out[i] = sum over k of x[entries[i, k]], for entries [n, k] that index x's elements in
/// row-major order; -1 stands for an element of -inf. @return shape [n]
template <class T>
Var<T> sum_entries(const Var<T>& x, const Indices& entries);
/// The transpose: y of the given shape, zero but for y[entries[i, k]] += x[i].
template <class T>
Var<T> spread_entries(const Var<T>& x, const Indices& entries, const Shape& shape);

/// Elements of x by index: out[i] = x[entries[i]].
template <class T>
Var<T> take_entries(const Var<T>& x, const Indices& entries);

}  // namespace tapestry::detail
