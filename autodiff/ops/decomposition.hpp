#pragma once

#include <tapestry/autodiff/variable.hpp>

// Where eigenvalues or singular values coincide (closer than a rounding error of the largest), the vectors that belong
// to them are not unique and have no derivative. The gradient leaves out the terms that turn such vectors into one
// another. It is then still right for functions of the values in which these are exchangeable, and of the spaces that
// the vectors span (a projection onto all of them), but not for others, such as a matrix function put together from
// values and vectors: matrix_exp(), solve() and the like have no such exception.

namespace tapestry {

template <class T>
struct Eigen {
  Var<T> values;   ///< [..., n], ascending
  Var<T> vectors;  ///< [..., n, n], in columns
};

/// Eigenvalues and orthonormal eigenvectors of symmetric matrices [..., n, n], of which the lower triangle is read. The
/// gradient is that of a symmetric argument: Giles 2008, "Collected matrix derivative results".
/// @throws ShapeError unless square, NumericalError without convergence
template <class T>
Eigen<T> eigh(const Var<T>& a);

template <class T>
struct Svd {
  Var<T> u;   ///< [..., m, k] with k = min(m, n)
  Var<T> s;   ///< [..., k], descending
  Var<T> vt;  ///< [..., k, n]
};

/// The thin singular value decomposition a = u diag(s) vt of matrices [..., m, n]. Gradients: Townsend 2016,
/// "Differentiating the singular value decomposition"; Wan and Zhang 2019. Singular values of zero have gradients only
/// for functions of the values where m = n.
/// @throws ShapeError below two axes, NumericalError without convergence
template <class T>
Svd<T> svd(const Var<T>& a);

template <class T>
struct Qr {
  Var<T> q;  ///< [..., m, k] with k = min(m, n)
  Var<T> r;  ///< [..., k, n], its diagonal not negative
};

/// a = q r for matrices [..., m, n]. Gradients: Walter and Lehmann 2010; for n > m Roberts and Roberts 2020, "QR and LQ
/// decomposition matrix backpropagation algorithms". Backward needs the first k columns of a to be independent.
/// @throws ShapeError below two axes
template <class T>
Qr<T> qr(const Var<T>& a);

}  // namespace tapestry
