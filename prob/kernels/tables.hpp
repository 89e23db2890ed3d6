#pragma once

#include <cstddef>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Operations of a table x[outer][n][inner] with a smaller one m[outer][inner], all contiguous.
struct TableKernels {
  /// y = sum over the middle axis, or maximum
  void (*sum)(const double* x, std::size_t outer, std::size_t n, std::size_t inner, double* y);
  void (*max)(const double* x, std::size_t outer, std::size_t n, std::size_t inner, double* y);
  /// x = m for all of the middle axis
  void (*assign)(double* x, std::size_t outer, std::size_t n, std::size_t inner, const double* m);
  /// y = x - y, but -inf where x is (y holds finite numbers or -inf)
  void (*subtract_from)(const double* x, double* y, std::size_t n);
  /// x = exp(x)
  void (*exp)(double* x, std::size_t n);
  void (*scale)(double* x, double factor, std::size_t n);
  void (*shift)(double* x, double term, std::size_t n);
  double (*maximum)(const double* x, std::size_t n);
  double (*total)(const double* x, std::size_t n);
  /// The least entry above zero, infinity where there is none.
  double (*least_positive)(const double* x, std::size_t n);
};

}  // namespace tapestry::detail
