#include <tapestry/autodiff/blas.hpp>

#include <cblas.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <type_traits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/layout.hpp>
#include <tapestry/autodiff/kernels/small_gemm.hpp>
#include <tapestry/autodiff/onednn.hpp>
#include <tapestry/autodiff/openblas.hpp>
#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;

// Products of at least this many multiplications are split over threads, in parts that depend on the shape only:
// OpenBLAS sums an element in an order that depends on the shape of the whole product. A part has to pack its factors
// anew, which costs 2 to 5 % in two parts, so that there are more of them only in much larger products.
constexpr Int split_work = 3 << 20;
constexpr Int many_parts_work = 1 << 29;
constexpr Int tile = 32;
// Items of a batch, or rows of a matrix-vector product, that make a chunk.
constexpr Int batch_work = 1 << 18;
constexpr Int vector_work = 1 << 17;

CBLAS_TRANSPOSE transposed(bool trans) {
  return trans ? CblasTrans : CblasNoTrans;
}

template <class... Sizes>
void check_sizes(std::string_view operation, Sizes... sizes) {
  constexpr Int most = std::numeric_limits<blasint>::max();
  if (((sizes > most) || ...)) fail<ShapeError>(operation, "an extent or stride exceeds BLAS' limit of ", most);
}

blasint to_int(Int n) {
  return static_cast<blasint>(n);
}
// BLAS wants leading dimensions of at least one row even where there are no rows.
blasint leading(Int ld, Int columns) {
  return static_cast<blasint>(std::max({ld, columns, Int{1}}));
}

template <class T>
void scale(Int m, Int n, T beta, T* c, Int ldc) {
  for (Int i = 0; i < m; ++i)
    for (Int j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
}

// OpenBLAS' kernels for small matrices on AVX-512 cores are slow where the right factor alone is transposed: they read
// both along the depth. From so many rows on, transposing it first is cheaper.
bool transposes_right(Int m, Int n, Int k) {
  constexpr Int least = 16, most_work = 1000000;
  return blas_report().avx512 && m >= 2 * least && n >= least && k >= least && m * n * k <= most_work;
}

template <class T>
void call_gemm(bool trans_a, bool trans_b, Int m, Int n, Int k, T alpha, const T* a, Int lda, const T* b, Int ldb,
               T beta, T* c, Int ldc) {
  if constexpr (std::is_same_v<T, float>)
    if (onednn_wins(m, n, k)) return onednn_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  if (trans_b && !trans_a && transposes_right(m, n, k)) {
    PooledVector<T> right(static_cast<std::size_t>(n * k));
    kernels<LayoutKernels<T>>().transpose(b, static_cast<std::size_t>(n), static_cast<std::size_t>(k),
                                          static_cast<std::size_t>(ldb), right.data(), static_cast<std::size_t>(n));
    return call_gemm(false, false, m, n, k, alpha, a, lda, right.data(), n, beta, c, ldc);
  }
  const blasint ld_a = leading(lda, trans_a ? m : k), ld_b = leading(ldb, trans_b ? k : n), ld_c = leading(ldc, n);
  if constexpr (std::is_same_v<T, float>)
    cblas_sgemm(CblasRowMajor, transposed(trans_a), transposed(trans_b), to_int(m), to_int(n), to_int(k), alpha, a,
                ld_a, b, ld_b, beta, c, ld_c);
  else
    cblas_dgemm(CblasRowMajor, transposed(trans_a), transposed(trans_b), to_int(m), to_int(n), to_int(k), alpha, a,
                ld_a, b, ld_b, beta, c, ld_c);
}

template <class T>
void call_gemv(bool trans, Int m, Int n, T alpha, const T* a, Int lda, const T* x, Int incx, T beta, T* y, Int incy) {
  if constexpr (std::is_same_v<T, float>)
    cblas_sgemv(CblasRowMajor, transposed(trans), to_int(m), to_int(n), alpha, a, leading(lda, n), x, to_int(incx),
                beta, y, to_int(incy));
  else
    cblas_dgemv(CblasRowMajor, transposed(trans), to_int(m), to_int(n), alpha, a, leading(lda, n), x, to_int(incx),
                beta, y, to_int(incy));
}

// Where our kernels beat the call of OpenBLAS, which has its own for small matrices on AVX-512 cores only.
bool is_small(bool batched, Int m, Int n, Int k) {
  if (n > small_gemm_columns || k > small_gemm_depth || m > 1024) return false;
  const Int most = !blas_report().avx512 ? 16 * 16 * 16 : batched ? 4 * 4 * 4 : 0;
  return m * n * k <= most;
}

template <class T>
void small_gemm(bool trans_a, bool trans_b, Int batch, Int m, Int n, Int k, T alpha, const T* a, Int lda, Int stride_a,
                const T* b, Int ldb, Int stride_b, T beta, T* c, Int ldc, Int stride_c) {
  kernels<SmallGemmKernels<T>>().multiply(batch, m, n, k, alpha, {a, trans_a ? 1 : lda, trans_a ? lda : 1, stride_a},
                                          {b, trans_b ? 1 : ldb, trans_b ? ldb : 1, stride_b}, beta, c, ldc, stride_c);
}

// Where part i of `parts` begins: at whole tiles, nearly evenly.
Int border(Int n, Int parts, Int i) {
  return i == parts ? n : n / tile * i / parts * tile;
}

struct Grid {
  Int rows = 1, columns = 1;
};

// Splitting rows packs b for each part, splitting columns packs a, which is cheaper.
Grid split(Int m, Int n, Int k) {
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  if (work < split_work) return {};
  Int parts = 2;
  for (double limit = many_parts_work; work >= limit && parts < 32; limit *= 8) parts *= 2;
  for (; parts > 1; parts /= 2) {
    Grid best{0, 0};
    double least = std::numeric_limits<double>::infinity();
    for (Int rows = 1; rows <= parts; rows *= 2) {
      const Int columns = parts / rows;
      if ((rows > 1 && m < 2 * tile * rows) || (columns > 1 && n < 2 * tile * columns)) continue;
      const double cost = static_cast<double>(rows - 1) / static_cast<double>(m) +
                          0.7 * static_cast<double>(columns - 1) / static_cast<double>(n);
      if (cost < least) {
        least = cost;
        best = {rows, columns};
      }
    }
    if (best.rows > 0) return best;
  }
  return {};
}

template <class T>
void product(bool in_parts, bool trans_a, bool trans_b, Int m, Int n, Int k, T alpha, const T* a, Int lda, const T* b,
             Int ldb, T beta, T* c, Int ldc) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0 || alpha == T(0)) return scale(m, n, beta, c, ldc);
  check_sizes("gemm", m, n, k, lda, ldb, ldc);
  if (is_small(false, m, n, k))
    return small_gemm(trans_a, trans_b, 1, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0);
  if (n == 1)
    return gemv(trans_a, trans_a ? k : m, trans_a ? m : k, alpha, a, lda, b, trans_b ? Int{1} : ldb, beta, c, ldc);
  if (m == 1)
    return gemv(!trans_b, trans_b ? n : k, trans_b ? k : n, alpha, b, ldb, a, trans_a ? lda : Int{1}, beta, c, Int{1});
  const Grid grid = in_parts ? split(m, n, k) : Grid{};
  if (grid.rows * grid.columns == 1) return call_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  parallel_for(grid.rows * grid.columns, 1, [&](Int part, Int) {
    const Int row = part / grid.columns, column = part % grid.columns;
    const Int i = border(m, grid.rows, row), i_end = border(m, grid.rows, row + 1);
    const Int j = border(n, grid.columns, column), j_end = border(n, grid.columns, column + 1);
    call_gemm(trans_a, trans_b, i_end - i, j_end - j, k, alpha, a + (trans_a ? i : i * lda), lda,
              b + (trans_b ? j * ldb : j), ldb, beta, c + i * ldc + j, ldc);
  });
}

}  // namespace

template <class T>
void gemm(bool trans_a, bool trans_b, Int m, Int n, Int k, T alpha, const T* a, Int lda, const T* b, Int ldb, T beta,
          T* c, Int ldc) {
  product(true, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
void gemm_batched_strided(bool trans_a, bool trans_b, Int batch, Int m, Int n, Int k, T alpha, const T* a, Int lda,
                          Int stride_a, const T* b, Int ldb, Int stride_b, T beta, T* c, Int ldc, Int stride_c) {
  if (batch <= 0 || m <= 0 || n <= 0) return;
  if (batch == 1) return gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  if (stride_b == 0 && !trans_a && stride_a == m * lda && stride_c == m * ldc)
    return gemm(false, trans_b, batch * m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(std::max<Int>(k, 1));
  const Int grain = std::max<Int>(1, static_cast<Int>(batch_work / work));
  if (k > 0 && alpha != T(0) && is_small(true, m, n, k)) {
    return parallel_for(batch, grain, [&](Int begin, Int end) {
      small_gemm(trans_a, trans_b, end - begin, m, n, k, alpha, a + begin * stride_a, lda, stride_a,
                 b + begin * stride_b, ldb, stride_b, beta, c + begin * stride_c, ldc, stride_c);
    });
  }
  // A few large items are split themselves, and come one after the other.
  const bool in_parts = batch < 4 && work >= split_work;
  const auto items = [&](Int begin, Int end) {
    for (Int i = begin; i < end; ++i)
      product(in_parts, trans_a, trans_b, m, n, k, alpha, a + i * stride_a, lda, b + i * stride_b, ldb, beta,
              c + i * stride_c, ldc);
  };
  if (in_parts) return items(0, batch);
  parallel_for(batch, grain, items);
}

template <class T>
void gemv(bool trans, Int m, Int n, T alpha, const T* a, Int lda, const T* x, Int incx, T beta, T* y, Int incy) {
  const Int length = trans ? n : m, depth = trans ? m : n;
  if (length <= 0) return;
  check_sizes("gemv", m, n, lda, incx, incy);
  blas_report();
  if (beta != T(1)) scale(length, Int{1}, beta, y, incy);
  if (depth <= 0 || alpha == T(0)) return;
  const Int grain = std::max<Int>(tile, vector_work / depth / tile * tile);
  parallel_for(length, grain, [&](Int begin, Int end) {
    call_gemv(trans, trans ? m : end - begin, trans ? end - begin : n, alpha, a + (trans ? begin : begin * lda), lda, x,
              incx, T(1), y + begin * incy, incy);
  });
}

template <class T>
void ger(Int m, Int n, T alpha, const T* x, Int incx, const T* y, Int incy, T* a, Int lda) {
  if (m <= 0 || n <= 0) return;
  check_sizes("ger", m, n, lda, incx, incy);
  blas_report();
  if constexpr (std::is_same_v<T, float>)
    cblas_sger(CblasRowMajor, to_int(m), to_int(n), alpha, x, to_int(incx), y, to_int(incy), a, leading(lda, n));
  else
    cblas_dger(CblasRowMajor, to_int(m), to_int(n), alpha, x, to_int(incx), y, to_int(incy), a, leading(lda, n));
}

template <class T>
T dot(Int n, const T* x, Int incx, const T* y, Int incy) {
  if (n <= 0) return T(0);
  check_sizes("dot", n, incx, incy);
  blas_report();
  if constexpr (std::is_same_v<T, float>)
    return cblas_sdot(to_int(n), x, to_int(incx), y, to_int(incy));
  else
    return cblas_ddot(to_int(n), x, to_int(incx), y, to_int(incy));
}

template <class T>
void trsm(bool right, bool lower, bool trans, bool unit, Int m, Int n, T alpha, const T* a, Int lda, T* b, Int ldb) {
  if (m <= 0 || n <= 0) return;
  check_sizes("trsm", m, n, lda, ldb);
  blas_report();
  const auto side = right ? CblasRight : CblasLeft;
  const auto triangle = lower ? CblasLower : CblasUpper;
  const auto diagonal = unit ? CblasUnit : CblasNonUnit;
  const blasint ld_a = leading(lda, right ? n : m), ld_b = leading(ldb, n);
  if constexpr (std::is_same_v<T, float>)
    cblas_strsm(CblasRowMajor, side, triangle, transposed(trans), diagonal, to_int(m), to_int(n), alpha, a, ld_a, b,
                ld_b);
  else
    cblas_dtrsm(CblasRowMajor, side, triangle, transposed(trans), diagonal, to_int(m), to_int(n), alpha, a, ld_a, b,
                ld_b);
}

template <class T>
void syrk(bool lower, bool trans, Int n, Int k, T alpha, const T* a, Int lda, T beta, T* c, Int ldc) {
  if (n <= 0) return;
  check_sizes("syrk", n, k, lda, ldc);
  if (k <= 0 || alpha == T(0)) {
    for (Int i = 0; i < n; ++i) {
      const Int begin = lower ? 0 : i, end = lower ? i + 1 : n;
      scale(Int{1}, end - begin, beta, c + i * ldc + begin, ldc);
    }
    return;
  }
  blas_report();
  const auto triangle = lower ? CblasLower : CblasUpper;
  const blasint ld_a = leading(lda, trans ? n : k), ld_c = leading(ldc, n);
  if constexpr (std::is_same_v<T, float>)
    cblas_ssyrk(CblasRowMajor, triangle, transposed(trans), to_int(n), to_int(k), alpha, a, ld_a, beta, c, ld_c);
  else
    cblas_dsyrk(CblasRowMajor, triangle, transposed(trans), to_int(n), to_int(k), alpha, a, ld_a, beta, c, ld_c);
}

#define TAPESTRY_INSTANTIATE(T)                                                                                        \
  template void gemm(bool, bool, Int, Int, Int, T, const T*, Int, const T*, Int, T, T*, Int);                          \
  template void gemm_batched_strided(bool, bool, Int, Int, Int, Int, T, const T*, Int, Int, const T*, Int, Int, T, T*, \
                                     Int, Int);                                                                        \
  template void gemv(bool, Int, Int, T, const T*, Int, const T*, Int, T, T*, Int);                                     \
  template void ger(Int, Int, T, const T*, Int, const T*, Int, T*, Int);                                               \
  template T dot(Int, const T*, Int, const T*, Int);                                                                   \
  template void trsm(bool, bool, bool, bool, Int, Int, T, const T*, Int, T*, Int);                                     \
  template void syrk(bool, bool, Int, Int, T, const T*, Int, T, T*, Int);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
