#pragma once

#include <tapestry/autodiff/shape.hpp>

namespace tapestry {

/// Maps a possibly negative axis of a shape (with `added` axes more) to 0..rank-1. @throws ShapeError naming the
/// operation, the axis and the shape.
int normalize_axis(std::string_view operation, std::int64_t axis, const Shape& shape, int added = 0);

/// Which axes of a shape (with `added` axes more) are listed; all for an empty list. @throws ShapeError on a repeated or
/// absent axis, naming operation, axis and shape.
std::array<bool, Shape::max_rank> axis_mask(std::string_view operation, const Axes& axes, const Shape& shape,
                                            int added = 0);

}  // namespace tapestry
