#pragma once

#include <span>

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// Tensors of one shape as one: [n, ...]. T is float, double or std::int64_t. @throws ShapeError
template <class T>
Tensor<T> stack(std::span<const Tensor<T>> items);

template <class T>
struct Padded {
  Tensor<T> values;  ///< [n, longest, ...]
  Indices lengths;   ///< [n]
};

/// Sequences [length, ...] that differ in length only as one tensor; `fill` where a sequence has ended.
/// @throws ShapeError for rank 0 or other extents that differ
template <class T>
Padded<T> pad(std::span<const Tensor<T>> sequences, T fill = 0);

}  // namespace tapestry
