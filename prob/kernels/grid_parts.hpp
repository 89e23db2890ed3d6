#pragma once

#include <tapestry/prob/kernels/grid.hpp>
#include <tapestry/prob/kernels/vectors.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {

template <class T>
TAPESTRY_INLINE GridPlanes grid_planes(const GridShape& grid) {
  GridPlanes p{};
  p.margin = 64 / sizeof(T);
  p.plane = (grid.width + p.margin - 1) / p.margin * p.margin + 2 * p.margin;
  p.row = grid.states * p.plane;
  p.total = (grid.height + 2) * p.row;
  return p;
}

/// Row y (-1 .. height) of the plane of state k, from its first pixel on.
template <class T>
TAPESTRY_INLINE T* row_of(T* planes, const GridPlanes& p, std::size_t k, std::size_t y) {
  return planes + (y + 1) * p.row + k * p.plane + p.margin;
}

/// n <= lanes elements that lie a stride apart.
template <class T>
TAPESTRY_INLINE Vec<T> load_strided(const T* p, std::size_t stride, std::size_t n) {
  if (stride == 1) return load_partial<T>(p, n);
  Vec<T> out{};
  for (std::size_t v = 0; v < n; ++v) out[v] = p[v * stride];
  return out;
}
template <class T>
TAPESTRY_INLINE void store_strided(T* p, std::size_t stride, std::size_t n, Vec<T> x) {
  if (stride == 1) return store_partial<T>(p, x, n);
  for (std::size_t v = 0; v < n; ++v) p[v * stride] = x[v];
}

/// One row between the user's layout and planes.
template <class T>
TAPESTRY_INLINE void row_to_planes(const GridShape& grid, const GridPlanes& p, const T* from, std::size_t y, T* planes,
                                   T padding) {
  from += y * grid.row_stride;
  for (std::size_t k = 0; k < grid.states; ++k) {
    T* to = row_of(planes, p, k, y);
    const T* source = from + k * grid.state_stride;
    if (grid.column_stride == 1) {
      std::size_t x = 0;
      for (; x + lanes<T> <= grid.width; x += lanes<T>) store<T>(to + x, load<T>(source + x));
      if (x < grid.width) store_partial<T>(to + x, load_partial<T>(source + x, grid.width - x), grid.width - x);
    } else {
      for (std::size_t x = 0; x < grid.width; ++x) to[x] = source[x * grid.column_stride];
    }
    for (std::size_t x = grid.width; x < p.plane - 2 * p.margin; ++x) to[x] = padding;
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
