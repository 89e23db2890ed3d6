#include <tapestry/autodiff/kernels/normalization.hpp>

#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

using Int = std::int64_t;

// The sum of f(first, count) over the vectors of n elements, in four chains.
template <class T, class F>
TAPESTRY_INLINE T sum_vectors(Int n, F f) {
  constexpr Int width = Int(lanes<T>);
  Vec<T> sum[4] = {};
  Int i = 0;
  for (; i + 4 * width <= n; i += 4 * width)
    for (int k = 0; k < 4; ++k) sum[k] += f(i + k * width, lanes<T>);
  for (; i < n; i += width) sum[0] += f(i, static_cast<std::size_t>(n - i < width ? n - i : width));
  return horizontal_sum<T>((sum[0] + sum[1]) + (sum[2] + sum[3]));
}
// x - mean, zero beyond the last element.
template <class T>
TAPESTRY_INLINE Vec<T> centred(const T* x, Int i, std::size_t count, T mean) {
  return load_partial<T>(x + i, count, mean) - mean;
}

// Not a number where the mean is infinite: left out then.
template <class T>
TAPESTRY_INLINE T corrected(T mean, T correction) {
  return correction - correction == T(0) ? mean + correction : mean;
}

// Two passes, of which the second corrects the mean for what the first rounded (Chan, Golub and LeVeque, "Algorithms
// for computing the sample variance", The American Statistician 37, 1983).
template <class T>
void moments(const T* x, const ChannelView& v, T* mean, T* deviations) {
  const Int n = v.columns;
  if (!v.by_column) {
    for (Int r = 0; r < v.rows; ++r, x += n) {
      const T first = sum_vectors<T>(n, [&](Int i, std::size_t count) { return load_partial<T>(x + i, count); }) / T(n);
      Vec<T> rest = {};
      const T squares = sum_vectors<T>(n, [&](Int i, std::size_t count) {
        const Vec<T> d = centred(x, i, count, first);
        rest += d;
        return d * d;
      });
      const T correction = horizontal_sum<T>(rest) / T(n);
      mean[r] = corrected(first, correction);
      deviations[r] = squares - T(n) * correction * correction;
    }
    return;
  }
  // Columns in strips that stay in registers.
  constexpr Int strip = 4 * Int(lanes<T>);
  for (Int c = 0; c < n; c += strip) {
    const Int width = n - c < strip ? n - c : strip;
    T first[strip] = {}, rest[strip] = {}, squares[strip] = {};
    for (Int r = 0; r < v.rows; ++r)
      for (Int i = 0; i < width; ++i) first[i] += x[r * n + c + i];
    for (Int i = 0; i < width; ++i) first[i] /= T(v.rows);
    for (Int r = 0; r < v.rows; ++r)
      for (Int i = 0; i < width; ++i) {
        const T d = x[r * n + c + i] - first[i];
        rest[i] += d;
        squares[i] += d * d;
      }
    for (Int i = 0; i < width; ++i) {
      const T correction = rest[i] / T(v.rows);
      mean[c + i] = corrected(first[i], correction);
      deviations[c + i] = squares[i] - T(v.rows) * correction * correction;
    }
  }
}

template <class T>
void normalize(const T* x, const ChannelView& v, const T* mean, const T* scale, const T* shift, T* y) {
  const Int n = v.columns;
  for (Int r = 0; r < v.rows; ++r, x += n, y += n) {
    const Int k = r % v.channels;
    if (v.by_column)
      for (Int c = 0; c < n; ++c) y[c] = (x[c] - mean[c]) * scale[c] + shift[c];
    else
      for (Int c = 0; c < n; ++c) y[c] = (x[c] - mean[k]) * scale[k] + shift[k];
  }
}

template <class T>
void products(const T* g, const T* x, const ChannelView& v, const T* mean, T* sum, T* product) {
  const Int n = v.columns;
  if (v.by_column)
    for (Int c = 0; c < n; ++c) sum[c] = product[c] = T(0);
  for (Int r = 0; r < v.rows; ++r, x += n, g += n) {
    if (v.by_column) {
      for (Int c = 0; c < n; ++c) {
        sum[c] += g[c];
        product[c] += g[c] * (x[c] - mean[c]);
      }
      continue;
    }
    const T centre = mean[r % v.channels];
    sum[r] = sum_vectors<T>(n, [&](Int i, std::size_t count) { return load_partial<T>(g + i, count); });
    product[r] = sum_vectors<T>(
        n, [&](Int i, std::size_t count) { return load_partial<T>(g + i, count) * centred(x, i, count, centre); });
  }
}

template <class T>
void combine(const T* g, const T* x, const ChannelView& v, const T* mean, const T* a, const T* b, const T* c, T* out,
             bool accumulate) {
  const Int n = v.columns;
  for (Int r = 0; r < v.rows; ++r, x += n, g += n, out += n) {
    const Int k = r % v.channels;
    const auto value = [&](Int i, Int channel) {
      return a[channel] * g[i] + b[channel] * (x[i] - mean[channel]) + c[channel] + (accumulate ? out[i] : T(0));
    };
    if (v.by_column)
      for (Int i = 0; i < n; ++i) out[i] = value(i, i);
    else
      for (Int i = 0; i < n; ++i) out[i] = value(i, k);
  }
}

template <class T>
void layer(const T* x, Int rows, Int n, const T* mean, const T* inverse, const T* weight, const T* bias, T* y) {
  for (Int r = 0; r < rows; ++r, x += n, y += n) {
    const T centre = mean[r], scale = inverse[r];
    for (Int c = 0; c < n; ++c) y[c] = (x[c] - centre) * scale * weight[c] + bias[c];
  }
}

template <class T>
void layer_backward(const T* g, const T* x, Int rows, Int n, const T* mean, const T* inverse, const T* weight, T* out,
                    bool accumulate, T* weight_sum, T* bias_sum) {
  for (Int r = 0; r < rows; ++r, x += n, g += n) {
    const T centre = mean[r], scale = inverse[r];
    for (Int c = 0; c < n; ++c) {
      weight_sum[c] += g[c] * (x[c] - centre) * scale;
      bias_sum[c] += g[c];
    }
    if (out == nullptr) continue;
    const T level = sum_vectors<T>(n,
                                   [&](Int i, std::size_t count) {
                                     return load_partial<T>(g + i, count) * load_partial<T>(weight + i, count);
                                   }) /
                    T(n);
    const T slope = sum_vectors<T>(n,
                                   [&](Int i, std::size_t count) {
                                     return load_partial<T>(g + i, count) * load_partial<T>(weight + i, count) *
                                            centred(x, i, count, centre);
                                   }) *
                    scale * scale / T(n);
    for (Int c = 0; c < n; ++c)
      out[c] = scale * (g[c] * weight[c] - level - slope * (x[c] - centre)) + (accumulate ? out[c] : T(0));
    out += n;
  }
}

template <class T>
constexpr NormalizationKernels<T> table{moments<T>, normalize<T>, products<T>, combine<T>, layer<T>, layer_backward<T>};

}  // namespace

template <>
const NormalizationKernels<float>& kernels() {
  return table<float>;
}
template <>
const NormalizationKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
