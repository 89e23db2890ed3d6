#pragma once

#include <array>
#include <cstdint>

#include <tapestry/autodiff/shape.hpp>

namespace tapestry::detail {

/// Distances in elements between neighbours along each axis.
using Strides = std::array<std::int64_t, Shape::max_rank>;

Strides row_major_strides(const Shape& shape);

/// y[sum_k i_k to_k] (+)= x[sum_k i_k from_k] for all positions i within the extents. The places in y differ from each
/// other; those in x need not (stride 0 repeats). Strides may be negative.
template <class T>
void strided_copy(const T* x, const Strides& from, T* y, const Strides& to, const Shape& extents, bool accumulate);

}  // namespace tapestry::detail
