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

/// Inside the kernels a quantity of every pixel and state lies in planes, one a state, of padded rows.
struct GridPlanes {
  std::size_t margin;  ///< columns left and right of a row's pixels
  std::size_t pitch;   ///< elements from row to row
  std::size_t plane;   ///< elements from state to state: height + 2 rows
  std::size_t total;   ///< elements of all states
};

}  // namespace tapestry::detail
