#pragma once

#include <string_view>

#include <tapestry/graph/state.hpp>

namespace tapestry::detail {

/// The largest |to - from| of an element; not a number where one is not.
/// @throws ShapeError naming the operation where a shape changes
double largest_change(std::string_view operation, const Nodes& from, const Nodes& to);

}  // namespace tapestry::detail
