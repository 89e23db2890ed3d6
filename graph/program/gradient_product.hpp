#pragma once

#include <cstdint>

namespace tapestry::detail {

/// The gradient x^T g of a matrix, as its factors: x is few x rows, g is few x columns.
template <class T>
struct GradientProduct {
  const T *x, *g;
  std::int64_t few, rows, columns;
};

}  // namespace tapestry::detail
