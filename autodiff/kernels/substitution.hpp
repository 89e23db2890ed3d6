#pragma once

#include <cstddef>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

template <class T>
struct SubstitutionKernels {
  /// x = l^-1 x by forward substitution, for small n: l [n, n] is lower triangular with rows of `ld` elements, x has n
  /// rows of `columns` elements, `stride` apart.
  void (*forward)(const T* l, std::size_t ld, std::size_t n, T* x, std::size_t stride, std::size_t columns);
};

}  // namespace tapestry::detail
