#pragma once

#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Products whose left factor is not stored as a matrix: element (i, p) of it is a[row[i] + depth[p]]. A convolution
/// in all its three directions is such a product, and so is a step of a recurrent network. The right factor is packed
/// once, and used many times.
template <class T>
struct GatheredProductKernels {
  /// The most columns of a panel of the right factor.
  std::int64_t panel;
  /// Elements between the rows of a packed panel of n columns: n rounded up to whole vectors.
  std::int64_t (*stride)(std::int64_t n);
  /// Packs b, where element (p, j) is b[p * row + j * column], k rows and n <= panel columns: k * stride(n) elements.
  void (*pack)(const T* b, std::int64_t row, std::int64_t column, std::int64_t k, std::int64_t n, T* packed);
  /// c[to[i] + j] = (or += where `accumulate`) the sum over p < k of a[row[i] + depth[p]] b[p, j], for i < m, j < n. The
  /// places of two rows of c may overlap where `accumulate`.
  void (*multiply)(const T* a, const std::int64_t* row, std::int64_t m, const std::int64_t* depth, std::int64_t k,
                   const T* packed, std::int64_t n, T* c, const std::int64_t* to, bool accumulate);
};

}  // namespace tapestry::detail
