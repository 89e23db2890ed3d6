#include <tapestry/autodiff/axes.hpp>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {

int normalize_axis(std::string_view operation, std::int64_t axis, const Shape& shape, int added) {
  const int rank = shape.rank() + added;
  if (axis < -rank || axis >= rank) {
    if (added == 0) fail<ShapeError>(operation, "axis ", axis, " is outside shape ", shape);
    fail<ShapeError>(operation, "axis ", axis, " is outside shape ", shape, " with ", added, " more");
  }
  return normalize_axis(operation, axis, rank);
}

std::array<bool, Shape::max_rank> axis_mask(std::string_view operation, const Axes& axes, const Shape& shape,
                                            int added) {
  if (shape.rank() + added > Shape::max_rank)
    fail<ShapeError>(operation, added, " axes more than ", shape, " are more than ", Shape::max_rank);
  std::array<bool, Shape::max_rank> listed{};
  for (const std::int64_t axis : axes) {
    bool& entry = listed[static_cast<std::size_t>(normalize_axis(operation, axis, shape, added))];
    if (entry) fail<ShapeError>(operation, "axis ", axis, " of shape ", shape, " is listed twice");
    entry = true;
  }
  return axes.empty() ? axis_mask(operation, axes, shape.rank() + added) : listed;
}

}  // namespace tapestry
