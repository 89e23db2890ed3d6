#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// The tensors one after the other along an axis they have. @throws ShapeError where the other extents differ
template <class T>
Var<T> concatenate(const std::vector<Var<T>>& parts, std::int64_t axis = 0);
template <class T>
Var<T> concatenate(std::initializer_list<Var<T>> parts, std::int64_t axis = 0) {
  return concatenate(std::vector<Var<T>>(parts), axis);
}

/// The tensors one after the other along a new axis. @throws ShapeError where their shapes differ
template <class T>
Var<T> stack(const std::vector<Var<T>>& parts, std::int64_t axis = 0);
template <class T>
Var<T> stack(std::initializer_list<Var<T>> parts, std::int64_t axis = 0) {
  return stack(std::vector<Var<T>>(parts), axis);
}

/// x with element i at position i + shift along an axis; what leaves at the end comes back at the beginning.
template <class T>
Var<T> roll(const Var<T>& x, std::int64_t shift, std::int64_t axis);

}  // namespace tapestry
