#pragma once

#include <tapestry/autodiff/ops/matrix_parts.hpp>
#include <tapestry/autodiff/pooled_vector.hpp>

namespace tapestry::detail {

/// LU factors, with row exchanges, of a batch of square matrices.
template <class T>
struct LuFactors {
  MatrixBatch batch{};
  Tensor<T> lu;
  PooledVector<int> pivots;
  /// For each matrix 0, or the order of the first leading minor that is zero.
  PooledVector<int> singular;

  void factor(const MatrixBatch& matrices, const T* a);
  /// @throws NumericalError where a matrix is singular
  void check(std::string_view operation) const;

  T* matrix(std::int64_t i) { return lu.data() + i * batch.elements(); }
  const T* matrix(std::int64_t i) const { return lu.data() + i * batch.elements(); }
  const int* exchanges(std::int64_t i) const { return pivots.data() + i * batch.rows; }
  /// The inverse of matrix i in out [n, n].
  void invert(std::int64_t i, T* out) const;
};

extern template struct LuFactors<float>;
extern template struct LuFactors<double>;

}  // namespace tapestry::detail
