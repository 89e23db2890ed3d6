#pragma once

#include <cstddef>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// A 4-neighbour grid of height x width variables. The log-potential of state k at (y, x), and what is laid out like
/// it, is at y * row_stride + x * column_stride + k * state_stride.
struct GridShape {
  std::size_t height, width, states;
  std::size_t row_stride, column_stride, state_stride;
};

/// Inside the kernels a quantity of every pixel and state lies in planes, one a state: padded rows, those of one y
/// behind each other, so that a sweep reads memory in order. There is one more row above and below the grid.
struct GridPlanes {
  std::size_t margin;  ///< columns left and right of a row's pixels
  std::size_t plane;   ///< elements of a padded row, and from state to state
  std::size_t row;     ///< elements from one y to the next
  std::size_t total;   ///< elements of all
};

}  // namespace tapestry::detail
