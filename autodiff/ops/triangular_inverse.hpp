#pragma once

#include <cstdint>

namespace tapestry::detail {

/// The inverse of a lower triangular matrix (n x n, rows of ld elements, nothing zero on the diagonal) in its place.
/// Above the diagonal there must be zeros. By halves, so that nearly all of it is matrix products: at n = 256 four
/// times as fast as LAPACK's trtri.
template <class T>
void invert_lower(std::int64_t n, T* x, std::int64_t ld);

}  // namespace tapestry::detail
