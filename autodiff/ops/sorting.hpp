#pragma once

#include <tapestry/autodiff/positions.hpp>

namespace tapestry {

// Equal elements keep their order; NaN counts as larger than all numbers.

/// The elements along an axis in order; the gradient goes back to where they came from.
template <class T>
Var<T> sort(const Var<T>& x, std::int64_t axis = -1, bool descending = false);
/// Positions along an axis in the order of their elements.
template <class T>
IndexTensor argsort(const Var<T>& x, std::int64_t axis = -1, bool descending = false);

template <class T>
struct TopK {
  Var<T> values;
  Positions indices;
};
/// The k largest (smallest) elements along an axis, best first, and their positions.
/// @throws ShapeError unless the axis has k
template <class T>
TopK<T> top_k(const Var<T>& x, std::int64_t k, std::int64_t axis = -1, bool largest = true);

}  // namespace tapestry
