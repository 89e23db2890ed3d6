#include <tapestry/autodiff/kernels/pooling.hpp>

#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

using Int = std::int64_t;

template <class T>
struct Best {
  T value;
  Int index;
  TAPESTRY_INLINE void offer(Best& best, T value, Int index) {
    const bool better = (value > best.value) | (value != value && best.value == best.value);
    best.value = better ? value : best.value;
    best.index = better ? index : best.index;
  }
};

// The even or the odd elements of two vectors that follow one another.
template <class T>
TAPESTRY_INLINE Vec<T> every_second(Vec<T> a, Vec<T> b, int first) {
  Mask<T> order;
  for (int i = 0; i < int(lanes<T>); ++i) order[i] = 2 * i + first;
#if defined(__clang__)
  T both[2 * lanes<T>], out[lanes<T>];
  store<T>(both, a);
  store<T>(both + lanes<T>, b);
  for (std::size_t i = 0; i < lanes<T>; ++i) out[i] = both[2 * i + std::size_t(first)];
  return load<T>(out);
#else
  return __builtin_shuffle(a, b, order);
#endif
}

template <class T>
TAPESTRY_INLINE void offer(Vec<T>& best, Mask<T>& corner, Vec<T> value, int which) {
  const Mask<T> better = (value > best) | ((value != value) & (best == best));
  best = better ? value : best;
  corner = better ? Mask<T>{} + which : corner;
}

// A vector of windows at a time.
template <class T>
void maximum_of_pairs(const T* x, const PoolWindows& w, T* y, Int* index) {
  constexpr Int width = Int(lanes<T>);
  const auto left = [](Int n) { return static_cast<std::size_t>(n < 0 ? 0 : n < width ? n : width); };
  const Int offset[4] = {0, 1, w.width, w.width + 1};
  for (Int i = 0; i < w.y_height; ++i) {
    const T* row = x + 2 * i * w.width;
    for (Int j = 0; j < w.y_width; j += width) {
      const Int n = w.y_width - j < width ? w.y_width - j : width;
      const auto load_row = [&](const T* p, Vec<T>& even, Vec<T>& odd) {
        const Vec<T> a = load_partial<T>(p, left(2 * n)), b = load_partial<T>(p + width, left(2 * n - width));
        even = every_second<T>(a, b, 0);
        odd = every_second<T>(a, b, 1);
      };
      Vec<T> best, upper_right, lower_left, lower_right;
      load_row(row + 2 * j, best, upper_right);
      load_row(row + w.width + 2 * j, lower_left, lower_right);
      Mask<T> corner{};
      offer<T>(best, corner, upper_right, 1);
      offer<T>(best, corner, lower_left, 2);
      offer<T>(best, corner, lower_right, 3);
      store_partial<T>(y, best, static_cast<std::size_t>(n));
      const Int at = 2 * i * w.width + 2 * j;
      for (Int k = 0; k < n; ++k) index[k] = at + 2 * k + offset[corner[k]];
      y += n;
      index += n;
    }
  }
}

template <class T>
void maximum(const T* x, Int planes, const PoolWindows& w, T* y, Int* index) {
  for (Int plane = 0; plane < planes; ++plane, x += w.height * w.width) {
    if (w.pairs) {
      maximum_of_pairs(x, w, y, index);
      y += w.y_height * w.y_width;
      index += w.y_height * w.y_width;
      continue;
    }
    for (Int i = 0; i < w.y_height; ++i)
      for (Int j = 0; j < w.y_width; ++j) {
        const Int first = w.row_begin[i] * w.width + w.column_begin[j];
        Best<T> best{x[first], first};
        for (Int row = w.row_begin[i]; row < w.row_end[i]; ++row)
          for (Int column = w.column_begin[j]; column < w.column_end[j]; ++column)
            Best<T>::offer(best, x[row * w.width + column], row * w.width + column);
        *y++ = best.value;
        *index++ = best.index;
      }
  }
}

template <class T>
void average(const T* x, Int planes, const PoolWindows& w, const T* row_factor, const T* column_factor, T* y) {
  for (Int plane = 0; plane < planes; ++plane, x += w.height * w.width)
    for (Int i = 0; i < w.y_height; ++i)
      for (Int j = 0; j < w.y_width; ++j) {
        T sum = 0;
        for (Int row = w.row_begin[i]; row < w.row_end[i]; ++row)
          for (Int column = w.column_begin[j]; column < w.column_end[j]; ++column) sum += x[row * w.width + column];
        *y++ = sum * row_factor[i] * column_factor[j];
      }
}

template <class T>
void average_backward(const T* g, Int planes, const PoolWindows& w, const T* row_factor, const T* column_factor,
                      T* out) {
  for (Int plane = 0; plane < planes; ++plane, out += w.height * w.width)
    for (Int i = 0; i < w.y_height; ++i)
      for (Int j = 0; j < w.y_width; ++j) {
        const T share = *g++ * row_factor[i] * column_factor[j];
        for (Int row = w.row_begin[i]; row < w.row_end[i]; ++row)
          for (Int column = w.column_begin[j]; column < w.column_end[j]; ++column) out[row * w.width + column] += share;
      }
}

template <class T>
void scatter(const T* values, Int planes, Int n, const Int* index, Int size, T* out, bool accumulate) {
  for (Int plane = 0; plane < planes; ++plane, values += n, index += n, out += size) {
    if (!accumulate) std::memset(static_cast<void*>(out), 0, static_cast<std::size_t>(size) * sizeof(T));
    for (Int j = 0; j < n; ++j) out[index[j]] += values[j];
  }
}

template <class T>
void gather(const T* x, Int planes, Int n, const Int* index, Int size, T* out, bool accumulate) {
  for (Int plane = 0; plane < planes; ++plane, x += size, index += n, out += n) {
    if (accumulate)
      for (Int j = 0; j < n; ++j) out[j] += x[index[j]];
    else
      for (Int j = 0; j < n; ++j) out[j] = x[index[j]];
  }
}

template <class T>
constexpr PoolKernels<T> table{maximum<T>, average<T>, average_backward<T>, scatter<T>, gather<T>};

}  // namespace

template <>
const PoolKernels<float>& kernels() {
  return table<float>;
}
template <>
const PoolKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
