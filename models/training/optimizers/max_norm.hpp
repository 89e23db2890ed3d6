#pragma once

#include <cstdint>

#include <tapestry/autodiff/shape.hpp>

namespace tapestry::detail {

/// Scales the weights of each unit (position of `unit_axis`) whose Euclidean norm is above the limit down to it.
/// @throws ShapeError where there is no such axis
template <class T>
void limit_unit_norms(T* parameter, const Shape& shape, int unit_axis, double limit);

}  // namespace tapestry::detail
