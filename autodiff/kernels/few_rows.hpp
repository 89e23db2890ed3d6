#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Products with a factor of few rows, which read the large one once, where it lies. Sums are taken in the order of k.
template <class T>
struct FewRowsKernels {
  /// c (+)= a b: a is m x k of few rows, b is k x n.
  void (*product)(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, std::int64_t lda, const T* b,
                  std::int64_t ldb, bool accumulate, T* c, std::int64_t ldc);
  /// c (+)= a b^T: a is m x k of few rows, b is n x k.
  void (*product_transposed)(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, std::int64_t lda, const T* b,
                             std::int64_t ldb, bool accumulate, T* c, std::int64_t ldc);
  /// c (+)= a^T b: a is k x m, b is k x n, both of few rows.
  void (*outer)(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, std::int64_t lda, const T* b,
                std::int64_t ldb, bool accumulate, T* c, std::int64_t ldc);
};

}  // namespace tapestry::detail
