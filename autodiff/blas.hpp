#pragma once

#include <cstdint>

// Dense linear algebra on raw row-major memory, T = float or double. Sizes that are 0 are allowed everywhere. Outputs
// must not overlap inputs; inputs may overlap one another. A factor `beta` of 0 means that the output is not read.
namespace tapestry::detail {

/// c = alpha op(a) op(b) + beta c, where op(a) is m x k, op(b) is k x n and op transposes where asked. lda, ldb and ldc
/// are the elements between rows as stored. Large products are split over threads, in parts that depend on the shape
/// only: the result is the same for any number of threads.
template <class T>
void gemm(bool trans_a, bool trans_b, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const T* a,
          std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc);

/// The same for `batch` items that lie stride_a, stride_b and stride_c elements apart (0 for a shared factor; never
/// for c). Becomes one product where the items of a follow one another and b is shared.
template <class T>
void gemm_batched_strided(bool trans_a, bool trans_b, std::int64_t batch, std::int64_t m, std::int64_t n,
                          std::int64_t k, T alpha, const T* a, std::int64_t lda, std::int64_t stride_a, const T* b,
                          std::int64_t ldb, std::int64_t stride_b, T beta, T* c, std::int64_t ldc,
                          std::int64_t stride_c);

/// y = alpha op(a) x + beta y; a is m x n as stored, the vectors have a stride of incx and incy > 0.
template <class T>
void gemv(bool trans, std::int64_t m, std::int64_t n, T alpha, const T* a, std::int64_t lda, const T* x,
          std::int64_t incx, T beta, T* y, std::int64_t incy);

/// a += alpha x y^T; a is m x n.
template <class T>
void ger(std::int64_t m, std::int64_t n, T alpha, const T* x, std::int64_t incx, const T* y, std::int64_t incy, T* a,
         std::int64_t lda);

/// The sum of x_i y_i.
template <class T>
T dot(std::int64_t n, const T* x, std::int64_t incx, const T* y, std::int64_t incy);

/// Solves op(a) x = alpha b, or x op(a) = alpha b where `right`, in place of b (m x n). a is triangular; the other
/// triangle is not read, nor the diagonal where `unit`.
template <class T>
void trsm(bool right, bool lower, bool trans, bool unit, std::int64_t m, std::int64_t n, T alpha, const T* a,
          std::int64_t lda, T* b, std::int64_t ldb);

/// The lower (or upper) triangle of c = alpha a a^T + beta c, or of alpha a^T a + beta c where `trans`. c is n x n, and
/// its other triangle is left as it is; k is the other extent of a.
template <class T>
void syrk(bool lower, bool trans, std::int64_t n, std::int64_t k, T alpha, const T* a, std::int64_t lda, T beta, T* c,
          std::int64_t ldc);

}  // namespace tapestry::detail
