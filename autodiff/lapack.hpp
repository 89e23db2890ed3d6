#pragma once

#include <cstdint>

// LAPACK on raw row-major memory, T = float or double; lda is the elements between rows. LAPACK is column-major, so it
// sees transposed matrices: each function here is the one whose result, transposed, is the wanted one, and nothing is
// copied but where it says so. All return 0 where they succeeded. Sizes that are 0 are allowed.
namespace tapestry::detail {

/// Cholesky: the lower triangle of a (n x n, symmetric, only that triangle is read) becomes L with a = L L^T; the rest
/// is left as it is. Returns i > 0 where the leading minor of order i is not positive definite.
template <class T>
int potrf(std::int64_t n, T* a, std::int64_t lda);

/// The lower triangle of the inverse of L L^T in place of L. Returns i > 0 where L(i, i), counted from one, is 0.
template <class T>
int potri(std::int64_t n, T* l, std::int64_t lda);

/// The inverse of a triangular matrix in its place; the other triangle is left as it is.
template <class T>
int trtri(bool lower, std::int64_t n, T* a, std::int64_t lda);

/// LU factors with pivoting of a (n x n), for getrs() and getri(): L, with its diagonal, is the lower triangle, U has a
/// diagonal of ones. `pivots` gets n entries counted from one: the determinant is the product of the diagonal, negated
/// for every i with pivots[i] != i + 1. Returns i > 0 where the i-th diagonal element is 0 (a is singular).
template <class T>
int getrf(std::int64_t n, T* a, std::int64_t lda, int* pivots);

/// Solves op(a) x = b in place of b (n x columns; copied where it has more than one column), with factors of getrf().
template <class T>
int getrs(bool trans, std::int64_t n, std::int64_t columns, const T* lu, std::int64_t lda, const int* pivots, T* b,
          std::int64_t ldb);

/// The inverse in place of the factors of getrf().
template <class T>
int getri(std::int64_t n, T* lu, std::int64_t lda, const int* pivots);

/// Eigenvalues (n, ascending) and eigenvectors of a symmetric matrix, of which the lower triangle is read. The
/// eigenvectors are the columns of a afterwards (transposed in place). Returns > 0 where it did not converge.
template <class T>
int syevd(std::int64_t n, T* a, std::int64_t lda, T* values);

/// a = u diag(s) vt, a is m x n and destroyed; s has k = min(m, n) values, descending. u is m x k and vt is k x n, or
/// m x m and n x n where `full`. Returns > 0 where it did not converge, < 0 where a has a NaN.
template <class T>
int gesdd(bool full, std::int64_t m, std::int64_t n, T* a, std::int64_t lda, T* s, T* u, std::int64_t ldu, T* vt,
          std::int64_t ldvt);

/// QR: the upper triangle (or trapezoid) of a (m x n) becomes R, the rest and `tau` (min(m, n) elements) hold Q.
template <class T>
int geqrf(std::int64_t m, std::int64_t n, T* a, std::int64_t lda, T* tau);

/// The first n <= m columns of Q (m x n) in place of what geqrf() left in the first n columns, where k <= n
/// reflections are in tau.
template <class T>
int orgqr(std::int64_t m, std::int64_t n, std::int64_t k, T* a, std::int64_t lda, const T* tau);

}  // namespace tapestry::detail
