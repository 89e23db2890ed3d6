#pragma once

#include <functional>

#include <tapestry/models/training/lbfgs.hpp>

namespace tapestry::detail {

/// The objective along a direction.
struct LinePoint {
  double value;
  double slope;
};
using LineFunction = std::function<LinePoint(double step)>;

struct LineResult {
  bool found = false;
  double step = 0;
  int evaluations = 0;
};

/// A step from `start`, whose slope must be negative, that satisfies the search's conditions. The function was called
/// last at the step returned.
LineResult search_line(LineSearch search, const LinePoint& start, double step, int max_evaluations,
                       const LineFunction& at);

}  // namespace tapestry::detail
