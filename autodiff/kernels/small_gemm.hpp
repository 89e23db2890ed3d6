#pragma once

#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// One of the factors of a batch of small products: element (i, j) of item b is data[b * batch + i * row + j * column].
template <class T>
struct SmallOperand {
  const T* data;
  std::int64_t row, column, batch;
};

/// Products so small that the overhead of a BLAS call shows.
template <class T>
struct SmallGemmKernels {
  /// c = alpha a b + beta c for every item of a batch; a is m x k, b is k x n, c has rows of ldc elements. c is not
  /// read where beta is 0. n at most small_gemm_columns, k at most small_gemm_depth.
  void (*multiply)(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, SmallOperand<T> a,
                   SmallOperand<T> b, T beta, T* c, std::int64_t ldc, std::int64_t stride_c);
};

inline constexpr std::int64_t small_gemm_columns = 16;
inline constexpr std::int64_t small_gemm_depth = 64;

}  // namespace tapestry::detail
