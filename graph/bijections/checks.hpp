#pragma once

#include <cmath>
#include <string_view>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/variable.hpp>

namespace tapestry::detail {

/// @throws NumericalError naming the first element that is not finite or for which `inside` does not hold
template <class T, class F>
void check_inside(std::string_view operation, const Var<T>& y, const char* set, F inside) {
  const T* const values = y.data();
  for (std::int64_t i = 0; i < y.size(); ++i)
    if (!std::isfinite(values[i]) || !inside(values[i]))
      fail<NumericalError>(operation, "element ", i, ", ", values[i], ", is not ", set);
}

/// @throws ShapeError for rank 0
inline void check_vector(std::string_view operation, const Shape& shape) {
  if (shape.rank() < 1) fail<ShapeError>(operation, "a number where a vector is expected");
}

}  // namespace tapestry::detail
