#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/autodiff/variable.hpp>

// What the operations on batches of matrices share.
namespace tapestry::detail {

/// Matrices along the last two axes.
struct MatrixBatch {
  std::int64_t count, rows, columns;
  std::int64_t elements() const noexcept { return rows * columns; }
};

/// @throws ShapeError below two axes
MatrixBatch matrix_batch(std::string_view operation, const Shape& shape);
/// @throws ShapeError where the matrices are not square too
MatrixBatch square_batch(std::string_view operation, const Shape& shape);

/// "the matrix [2, 2]", or "matrix 3 (of 5, each [2, 2])".
std::string which_matrix(const MatrixBatch& batch, std::int64_t index);

/// Calls f(i) for each of a batch of matrices, on several threads where the work (of order n^3 each) is worth it.
template <class F>
void for_matrices(std::int64_t count, std::int64_t n, F f) {
  const std::int64_t grain = std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, n * n * n));
  parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i);
  });
}

/// Weights of the elements below, on and above the diagonal.
struct TriangleWeights {
  double lower = 0, diagonal = 0, upper = 0;
};

/// own * x + transposed * x^T, weighted by where in the result an element is: transposes, symmetric and triangular
/// parts of matrices are all of this kind.
template <class T>
Var<T> matrix_parts(const Var<T>& x, TriangleWeights own, TriangleWeights transposed = {});

template <class T>
Var<T> adjoint(const Var<T>& x) {
  return matrix_parts(x, {}, {1, 1, 1});
}
/// (x + x^T) / 2
template <class T>
Var<T> symmetric_part(const Var<T>& x) {
  return matrix_parts(x, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5});
}
/// The lower or the upper triangle, zero elsewhere.
template <class T>
Var<T> triangle(const Var<T>& x, bool lower) {
  return matrix_parts(x, {lower ? 1.0 : 0.0, 1, lower ? 0.0 : 1.0});
}

/// Identity matrices.
template <class T>
Var<T> identity(std::int64_t n);

/// x [..., n] as [..., 1, n] or [..., n, 1], for scaling columns or rows.
template <class T>
Var<T> as_row(const Var<T>& x);
template <class T>
Var<T> as_column(const Var<T>& x);

}  // namespace tapestry::detail
