#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// The Euclidean norm of the gradients of all parameters together.
template <class T>
double gradient_norm(const std::vector<Var<T>>& parameters);

namespace detail {

/// In double, in an order that depends on n only.
template <class T>
double sum_of_squares(const T* x, std::int64_t n);
/// Each row once, in ascending order, with the sum of its gradients in the order they came.
template <class T>
SparseRows<T> merge_rows(const SparseRows<T>& rows);

}  // namespace detail
}  // namespace tapestry
