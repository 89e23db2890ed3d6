#pragma once

#include <tapestry/prob/kernels/grid.hpp>
#include <tapestry/prob/kernels/vectors.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {

template <class T>
TAPESTRY_INLINE GridPlanes grid_planes(const GridShape& grid) {
  GridPlanes p{};
  p.margin = 64 / sizeof(T);
  p.pitch = (grid.width + p.margin - 1) / p.margin * p.margin + 2 * p.margin;
  p.plane = (grid.height + 2) * p.pitch;
  p.total = grid.states * p.plane;
  return p;
}

/// Row y (-1 .. height) of the plane of state k, from its first pixel on.
template <class T>
TAPESTRY_INLINE T* row_of(T* planes, const GridPlanes& p, std::size_t k, std::size_t y) {
  return planes + k * p.plane + (y + 1) * p.pitch + p.margin;
}

/// One row between the user's layout and planes.
template <class T>
TAPESTRY_INLINE void row_to_planes(const GridShape& grid, const GridPlanes& p, const T* from, std::size_t y, T* planes,
                                   T padding) {
  from += y * grid.row_stride;
  for (std::size_t k = 0; k < grid.states; ++k) {
    T* to = row_of(planes, p, k, y);
    const T* source = from + k * grid.state_stride;
    for (std::size_t x = 0; x < grid.width; ++x) to[x] = source[x * grid.column_stride];
    for (std::size_t x = grid.width; x < p.pitch - 2 * p.margin; ++x) to[x] = padding;
  }
}
template <class T>
TAPESTRY_INLINE void planes_to_row(const GridShape& grid, const GridPlanes& p, const T* planes, std::size_t y, T* to) {
  to += y * grid.row_stride;
  for (std::size_t k = 0; k < grid.states; ++k) {
    const T* from = row_of(planes, p, k, y);
    T* target = to + k * grid.state_stride;
    for (std::size_t x = 0; x < grid.width; ++x) target[x * grid.column_stride] = from[x];
  }
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
