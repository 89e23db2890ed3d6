#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

struct TriangularOptions {
  /// Which triangle of a is read; the other one counts as zero.
  bool upper = false;
  /// Solve with the transposed matrices.
  bool transpose = false;
};

/// x with a x = b (or a^T x = b) for triangular matrices a [..., n, n] and b [..., n, k], or a vector b [n]. The
/// leading axes broadcast. Gradients: Giles 2008, "Collected matrix derivative results".
/// @throws ShapeError where these do not fit, NumericalError for a zero on the diagonal
template <class T>
Var<T> triangular_solve(const Var<T>& a, const Var<T>& b, TriangularOptions options = {});

/// x with a x = b for square matrices a [..., n, n] and b [..., n, k], or a vector b [n]; by LU factors with pivoting.
/// The leading axes broadcast. Gradients: Giles 2008.
/// @throws ShapeError where these do not fit, NumericalError for a singular matrix
template <class T>
Var<T> solve(const Var<T>& a, const Var<T>& b);

/// Inverses of square matrices [..., n, n]. @throws ShapeError, NumericalError for a singular matrix
template <class T>
Var<T> inverse(const Var<T>& a);

}  // namespace tapestry
