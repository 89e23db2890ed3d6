#include <tapestry/autodiff/kernels/layout.hpp>

#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
struct FourOf {
  typedef T type __attribute__((vector_size(4 * sizeof(T))));
};
template <class T>
using Four = typename FourOf<T>::type;

template <class T>
TAPESTRY_INLINE Four<T> load_four(const T* p) {
  Four<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T, bool accumulate>
TAPESTRY_INLINE void put_four(T* p, Four<T> v) {
  if constexpr (accumulate) v += load_four<T>(p);
  std::memcpy(p, &v, sizeof v);
}

/// Four by four in registers.
template <class T, bool accumulate>
TAPESTRY_INLINE void transpose_four(const T* x, std::int64_t stride_x, T* y, std::int64_t stride_y) {
  const Four<T> a = load_four<T>(x), b = load_four<T>(x + stride_x), c = load_four<T>(x + 2 * stride_x),
                d = load_four<T>(x + 3 * stride_x);
  const Four<T> ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  put_four<T, accumulate>(y, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
  put_four<T, accumulate>(y + stride_y, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
  put_four<T, accumulate>(y + 2 * stride_y, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
  put_four<T, accumulate>(y + 3 * stride_y, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

/// y[c * stride_y + r] (+)= x[r * stride_x + c], by squares of one cache line a side. Each line is read at once into a
/// small square and written at once: with strides of a power of two it would not stay in the cache.
template <class T, bool accumulate>
void transpose_loop(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t stride_x, T* y,
                    std::int64_t stride_y) {
  constexpr std::int64_t side = 64 / sizeof(T);
  for (std::int64_t r0 = 0; r0 < rows; r0 += side) {
    const std::int64_t height = rows - r0 < side ? rows - r0 : side;
    for (std::int64_t c0 = 0; c0 < columns; c0 += side) {
      const std::int64_t width = columns - c0 < side ? columns - c0 : side;
      const T* from = x + r0 * stride_x + c0;
      T* to = y + c0 * stride_y + r0;
      if (height == side && width == side) {
        alignas(64) T square[side * side];
        for (std::int64_t r = 0; r < side; ++r) std::memcpy(square + r * side, from + r * stride_x, 64);
        for (std::int64_t c = 0; c < side; c += 4)
          for (std::int64_t r = 0; r < side; r += 4)
            transpose_four<T, accumulate>(square + r * side + c, side, to + c * stride_y + r, stride_y);
        continue;
      }
      const std::int64_t whole_rows = height / 4 * 4, whole_columns = width / 4 * 4;
      for (std::int64_t c = 0; c < whole_columns; c += 4)
        for (std::int64_t r = 0; r < whole_rows; r += 4)
          transpose_four<T, accumulate>(from + r * stride_x + c, stride_x, to + c * stride_y + r, stride_y);
      for (std::int64_t c = 0; c < width; ++c)
        for (std::int64_t r = c < whole_columns ? whole_rows : 0; r < height; ++r) {
          T& element = to[c * stride_y + r];
          element = accumulate ? element + from[r * stride_x + c] : from[r * stride_x + c];
        }
    }
  }
}
template <class T>
void transpose(const T* x, std::size_t rows, std::size_t columns, std::size_t stride_x, T* y, std::size_t stride_y) {
  transpose_loop<T, false>(x, std::int64_t(rows), std::int64_t(columns), std::int64_t(stride_x), y,
                           std::int64_t(stride_y));
}

std::int64_t magnitude(std::int64_t stride) {
  return stride < 0 ? -stride : stride;
}

/// Axes of length one left out, in the order of the target's memory, and joined where both arrays walk on evenly.
StridedBox simplified(const StridedBox& box) {
  StridedBox s;
  for (int k = 0; k < box.axes; ++k) {
    if (box.extent[k] == 1) continue;
    int at = s.axes;
    for (; at > 0 && magnitude(s.to[at - 1]) < magnitude(box.to[k]); --at) {
      s.extent[at] = s.extent[at - 1];
      s.from[at] = s.from[at - 1];
      s.to[at] = s.to[at - 1];
    }
    s.extent[at] = box.extent[k];
    s.from[at] = box.from[k];
    s.to[at] = box.to[k];
    ++s.axes;
  }
  StridedBox joined;
  for (int k = 0; k < s.axes; ++k) {
    const int last = joined.axes - 1;
    if (last >= 0 && joined.to[last] == s.to[k] * s.extent[k] && joined.from[last] == s.from[k] * s.extent[k]) {
      joined.extent[last] *= s.extent[k];
      joined.from[last] = s.from[k];
      joined.to[last] = s.to[k];
    } else {
      joined.add(s.extent[k], s.from[k], s.to[k]);
    }
  }
  return joined;
}

template <class T, bool accumulate>
TAPESTRY_INLINE void copy_line(const T* x, std::int64_t from, T* y, std::int64_t to, std::int64_t n) {
  if (from == 1 && to == 1) {
    if constexpr (accumulate)
      for (std::int64_t i = 0; i < n; ++i) y[i] += x[i];
    else
      std::memcpy(y, x, std::size_t(n) * sizeof(T));
  } else if (from == 0 && to == 1) {
    const T value = *x;
    for (std::int64_t i = 0; i < n; ++i) y[i] = accumulate ? y[i] + value : value;
  } else if (to == 1) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = accumulate ? y[i] + x[i * from] : x[i * from];
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i * to] = accumulate ? y[i * to] + x[i * from] : x[i * from];
  }
}

template <class T, bool accumulate>
void copy_box(const T* x, T* y, const StridedBox& given) {
  for (int k = 0; k < given.axes; ++k)
    if (given.extent[k] == 0) return;
  StridedBox box = simplified(given);
  if (box.axes == 0) box.add(1, 1, 1);
  const int line = box.axes - 1;
  // Where the source's nearest neighbours lie along another axis than the target's, those two make a transposition.
  int across = -1;
  if (box.to[line] == 1 && box.from[line] > 1)
    for (int k = 0; k < line; ++k)
      if (box.from[k] == 1) across = k;
  std::int64_t count[StridedBox::most_axes] = {};
  for (;;) {
    if (across >= 0)
      transpose_loop<T, accumulate>(x, box.extent[line], box.extent[across], box.from[line], y, box.to[across]);
    else
      copy_line<T, accumulate>(x, box.from[line], y, box.to[line], box.extent[line]);
    int k = line - 1;
    for (; k >= 0; --k) {
      if (k == across) continue;
      x += box.from[k];
      y += box.to[k];
      if (++count[k] < box.extent[k]) break;
      x -= box.from[k] * box.extent[k];
      y -= box.to[k] * box.extent[k];
      count[k] = 0;
    }
    if (k < 0) return;
  }
}
template <class T>
void copy(const T* x, T* y, const StridedBox& box, bool accumulate) {
  accumulate ? copy_box<T, true>(x, y, box) : copy_box<T, false>(x, y, box);
}

template <class T>
void gather(const T* x, AxisView v, const std::int64_t* index, std::size_t n, T* y) {
  for (std::size_t o = 0; o < v.outer; ++o, x += v.axis * v.inner) {
    if (v.inner == 1)
      for (std::size_t k = 0; k < n; ++k) *y++ = x[index[k]];
    else
      for (std::size_t k = 0; k < n; ++k, y += v.inner)
        std::memcpy(y, x + std::size_t(index[k]) * v.inner, v.inner * sizeof(T));
  }
}
template <class T>
void scatter_add(const T* g, const std::int64_t* index, std::size_t n, T* out, AxisView v) {
  for (std::size_t o = 0; o < v.outer; ++o, out += v.axis * v.inner)
    for (std::size_t k = 0; k < n; ++k, g += v.inner) {
      T* row = out + std::size_t(index[k]) * v.inner;
      for (std::size_t i = 0; i < v.inner; ++i) row[i] += g[i];
    }
}
template <class T>
void gather_along(const T* x, AxisView v, const std::int64_t* index, std::size_t n, T* y) {
  for (std::size_t o = 0; o < v.outer; ++o, x += v.axis * v.inner)
    for (std::size_t k = 0; k < n; ++k)
      for (std::size_t i = 0; i < v.inner; ++i) *y++ = x[std::size_t(*index++) * v.inner + i];
}
template <class T>
void scatter_add_along(const T* g, const std::int64_t* index, std::size_t n, T* out, AxisView v) {
  for (std::size_t o = 0; o < v.outer; ++o, out += v.axis * v.inner)
    for (std::size_t k = 0; k < n; ++k)
      for (std::size_t i = 0; i < v.inner; ++i) out[std::size_t(*index++) * v.inner + i] += *g++;
}

template <class T>
constexpr LayoutKernels<T> table{transpose<T>,   copy<T>,         gather<T>,
                                 scatter_add<T>, gather_along<T>, scatter_add_along<T>};

}  // namespace

template <>
const LayoutKernels<float>& kernels() {
  return table<float>;
}
template <>
const LayoutKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
