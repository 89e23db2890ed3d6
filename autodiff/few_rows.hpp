#pragma once

#include <cstdint>

// Products with a factor of few rows (a small batch), which read the large factor once and where it lies: a BLAS spends
// more time there on packing it than on multiplying. Arrays are row-major without gaps. Work is split over threads in
// parts that depend on the shape only.
namespace tapestry::detail {

/// Whether a product of m rows with a matrix k x n, its gradients included, is better computed here than by gemm().
bool few_rows_win(std::int64_t m, std::int64_t n, std::int64_t k);

/// c = a b: a is m x k, b is k x n. By gemm() where that is faster still.
template <class T>
void few_rows_product(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b, T* c);

/// Whether c (+)= a b^T with m rows a is better computed here than by gemm(), too; k is the length of the sums.
template <class T>
bool few_rows_transposed_wins(std::int64_t m, std::int64_t n, std::int64_t k);

/// c (+)= a b^T for the rows [begin, end) of b, which is n x k: a is m x k, c is m x n. In the calling thread.
template <class T>
void few_rows_transposed_part(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b, bool accumulate,
                              T* c, std::int64_t begin, std::int64_t end);
/// The same for all rows, the better way.
template <class T>
void few_rows_transposed(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b, bool accumulate, T* c);

/// c (+)= a^T b for the rows [begin, end) of the result, of which c holds these only: a is k x m, b is k x n. In the
/// calling thread.
template <class T>
void few_rows_outer_part(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b, bool accumulate, T* c,
                         std::int64_t begin, std::int64_t end);
/// The same for all rows.
template <class T>
void few_rows_outer(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b, bool accumulate, T* c);

}  // namespace tapestry::detail
