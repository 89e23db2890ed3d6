#pragma once

#include <algorithm>
#include <cstdint>

#include <tapestry/autodiff/kernels/gathered_product.hpp>

namespace tapestry::detail {

/// A matrix with elements (p, j) at b[p * row + j * column], packed in panels of columns.
template <class T>
class Panels {
 public:
  static const GatheredProductKernels<T>& product() { return kernels<GatheredProductKernels<T>>(); }

  Panels(std::int64_t depth, std::int64_t columns) : depth_(depth), columns_(columns) {}
  std::int64_t size() const { return product().stride(columns_) * depth_; }
  void pack(const T* b, std::int64_t row, std::int64_t column, T* to) const {
    for_each(to, [&](std::int64_t first, std::int64_t n, T* panel) {
      product().pack(b + first * column, row, column, depth_, n, panel);
    });
  }
  /// Calls f(first column, columns, panel).
  template <class P, class F>
  void for_each(P* packed, F f) const {
    const std::int64_t panel = product().panel;
    for (std::int64_t first = 0; first < columns_; first += panel) {
      const std::int64_t n = std::min(panel, columns_ - first);
      f(first, n, packed);
      packed += depth_ * product().stride(n);
    }
  }

 private:
  std::int64_t depth_, columns_;
};

}  // namespace tapestry::detail
