#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// A sparse matrix by rows: row i has the elements values[row_starts[i]] ... values[row_starts[i + 1] - 1] in the
/// columns of the same numbers, in any order; a column may occur several times. The values are a variable.
template <class T>
struct CsrMatrix {
  std::int64_t rows = 0, columns = 0;
  Indices row_starts;      ///< [rows + 1]
  Indices column_indices;  ///< [elements]
  Var<T> values;           ///< [elements]

  CsrMatrix() = default;
  /// @throws ShapeError where the arrays do not fit together, IndexError for a column that does not exist
  CsrMatrix(std::int64_t rows, std::int64_t columns, Indices row_starts, Indices column_indices, Var<T> values);

  /// The elements of a matrix that are not zero; the values are a constant or a leaf.
  static CsrMatrix from_dense(const Tensor<T>& dense, bool requires_grad = false);
  /// The matrix [rows, columns] with all zeros, with the gradient to the values.
  Var<T> to_dense() const;
};

/// a x for a dense x [columns, k] or a vector [columns]; with gradients to a's values and to x. With `transpose`, a^T x
/// for x [rows, k] or [rows].
/// @throws ShapeError where x does not fit
template <class T>
Var<T> matmul(const CsrMatrix<T>& a, const Var<T>& x, bool transpose = false);

}  // namespace tapestry
