#pragma once

#include <cstddef>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Operations of blocks in the first-level cache: of x[outer][n][inner] with a smaller m[outer][inner], all contiguous.
struct TableBlockKernels {
  /// x = m for all of the middle axis
  void (*spread)(double* x, std::size_t outer, std::size_t n, std::size_t inner, const double* m);
  /// x = p * m (or p + m), m for all of the middle axis; p may be x
  void (*multiply)(double* x, std::size_t outer, std::size_t n, std::size_t inner, const double* m, const double* p);
  void (*add)(double* x, std::size_t outer, std::size_t n, std::size_t inner, const double* m, const double* p);
  /// m = sum of x over the middle axis, or maximum
  void (*sum)(const double* x, std::size_t outer, std::size_t n, std::size_t inner, double* m);
  void (*max)(const double* x, std::size_t outer, std::size_t n, std::size_t inner, double* m);
  /// The same, added to m, or the larger of both.
  void (*sum_onto)(const double* x, std::size_t outer, std::size_t n, std::size_t inner, double* m);
  void (*max_onto)(const double* x, std::size_t outer, std::size_t n, std::size_t inner, double* m);
  /// y = a / (scale * b), but 0 where a is 0
  void (*ratio)(const double* a, const double* b, double scale, double* y, std::size_t n);
  /// y = a - (shift + b), but -inf where a is
  void (*difference)(const double* a, const double* b, double shift, double* y, std::size_t n);
  /// Starts to bring x into the second-level cache.
  void (*prefetch)(const double* x, std::size_t n);
  /// The largest entry, and the least above zero (infinity where there is none).
  void (*range)(const double* x, std::size_t n, double* largest, double* least);
};

}  // namespace tapestry::detail
