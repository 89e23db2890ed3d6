#include <tapestry/autodiff/kernels/reduce_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

/// The lanes moved up by `step`; those of `fill` come in.
template <int step, class V>
TAPESTRY_INLINE V move_up(V v, V fill) {
  constexpr std::size_t n = sizeof(V) / sizeof(v[0]);
  if constexpr (n == 16) {
    if constexpr (step == 8)
      return __builtin_shufflevector(fill, v, 0, 0, 0, 0, 0, 0, 0, 0, 16, 17, 18, 19, 20, 21, 22, 23);
    if constexpr (step == 4)
      return __builtin_shufflevector(fill, v, 0, 0, 0, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27);
    if constexpr (step == 2)
      return __builtin_shufflevector(fill, v, 0, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29);
    if constexpr (step == 1)
      return __builtin_shufflevector(fill, v, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30);
  } else if constexpr (n == 8) {
    if constexpr (step == 4) return __builtin_shufflevector(fill, v, 0, 0, 0, 0, 8, 9, 10, 11);
    if constexpr (step == 2) return __builtin_shufflevector(fill, v, 0, 0, 8, 9, 10, 11, 12, 13);
    if constexpr (step == 1) return __builtin_shufflevector(fill, v, 0, 8, 9, 10, 11, 12, 13, 14);
  } else if constexpr (n == 4) {
    if constexpr (step == 2) return __builtin_shufflevector(fill, v, 0, 0, 4, 5);
    if constexpr (step == 1) return __builtin_shufflevector(fill, v, 0, 4, 5, 6);
  } else {
    return __builtin_shufflevector(fill, v, 0, 2);
  }
}
template <class V>
TAPESTRY_INLINE V reversed(V v) {
  constexpr std::size_t n = sizeof(V) / sizeof(v[0]);
  if constexpr (n == 16)
    return __builtin_shufflevector(v, v, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  else if constexpr (n == 8)
    return __builtin_shufflevector(v, v, 7, 6, 5, 4, 3, 2, 1, 0);
  else if constexpr (n == 4)
    return __builtin_shufflevector(v, v, 3, 2, 1, 0);
  else
    return __builtin_shufflevector(v, v, 1, 0);
}

/// Lane i becomes op over lanes 0 to i, in log2(lanes) steps. neutral: op(neutral, x) = x.
template <class T, class Op>
TAPESTRY_INLINE Vec<T> scan_lanes(Vec<T> x, Vec<T> neutral, Op op) {
  x = op(move_up<1>(x, neutral), x);
  if constexpr (lanes < T >> 2) x = op(move_up<2>(x, neutral), x);
  if constexpr (lanes < T >> 4) x = op(move_up<4>(x, neutral), x);
  if constexpr (lanes < T >> 8) x = op(move_up<8>(x, neutral), x);
  return x;
}

/// One contiguous row: what came before goes into the next vector in one step, not one an element.
template <class T, class Op>
TAPESTRY_INLINE void scan_row(const T* x, std::size_t n, T* y, T neutral, bool reverse, Op op) {
  const Vec<T> none = splat<T>(neutral);
  Vec<T> before = none;
  if (reverse) {
    std::size_t end = n;
    for (; end >= lanes<T>; end -= lanes<T>) {
      const Vec<T> here = op(before, scan_lanes<T>(reversed(load<T>(x + end - lanes<T>)), none, op));
      store<T>(y + end - lanes<T>, reversed(here));
      before = splat<T>(here[lanes<T> - 1]);
    }
    Vec<T> last = before;
    while (end-- > 0) {
      last = op(last, splat<T>(x[end]));
      y[end] = last[0];
    }
    return;
  }
  for (std::size_t i = 0; i < n; i += lanes<T>) {
    const Vec<T> here = op(before, scan_lanes<T>(load_partial<T>(x + i, n - i, neutral), none, op));
    store_partial<T>(y + i, here, n - i);
    before = splat<T>(here[lanes<T> - 1]);
  }
}

template <class T>
void cumsum(const T* x, AxisView v, T* y, bool reverse) {
  for (std::size_t o = 0; o < v.outer; ++o, x += v.axis * v.inner, y += v.axis * v.inner) {
    if (v.inner == 1) {
      scan_row(x, v.axis, y, T(0), reverse, [](Vec<T> a, Vec<T> b) TAPESTRY_ALWAYS_INLINE { return a + b; });
      continue;
    }
    for (std::size_t step = 0; step < v.axis; ++step) {
      const std::size_t at = (reverse ? v.axis - 1 - step : step) * v.inner;
      const T* before = y + (reverse ? at + v.inner : at - v.inner);
      if (step == 0)
        for (std::size_t i = 0; i < v.inner; ++i) y[at + i] = x[at + i];
      else
        for (std::size_t i = 0; i < v.inner; ++i) y[at + i] = before[i] + x[at + i];
    }
  }
}
template <class T>
void cumprod(const T* x, AxisView v, T* y) {
  for (std::size_t o = 0; o < v.outer; ++o, x += v.axis * v.inner, y += v.axis * v.inner)
    for (std::size_t a = 0; a < v.axis; ++a)
      for (std::size_t i = 0; i < v.inner; ++i) {
        const std::size_t k = a * v.inner + i;
        y[k] = a == 0 ? x[k] : y[k - v.inner] * x[k];
      }
}
/// With P the product before i and S(i) = g(i) + x(i+1) S(i+1), the gradient is P S(i).
template <class T>
void cumprod_backward(const T* g, const T* x, AxisView v, T* out, bool accumulate) {
  constexpr std::size_t segment = 64;
  const std::size_t slice = v.axis * v.inner;
  for (std::size_t o = 0; o < v.outer; ++o, g += slice, x += slice, out += slice)
    for (std::size_t i = 0; i < v.inner; ++i) {
      if (!accumulate) {
        T s = 0;
        for (std::size_t a = v.axis; a-- > 0;) {
          const std::size_t k = a * v.inner + i;
          s = g[k] + (a + 1 == v.axis ? T(0) : x[k + v.inner] * s);
          out[k] = s;
        }
        T before = 1;
        for (std::size_t a = 0; a < v.axis; ++a) {
          const std::size_t k = a * v.inner + i;
          out[k] *= before;
          before *= x[k];
        }
        continue;
      }
      // S is kept for one segment at a time, from the last one on; the product before it is made anew.
      T s = 0, suffixes[segment];
      for (std::size_t end = v.axis; end > 0;) {
        const std::size_t begin = end > segment ? end - segment : 0;
        for (std::size_t a = end; a-- > begin;) {
          const std::size_t k = a * v.inner + i;
          s = g[k] + (a + 1 == v.axis ? T(0) : x[k + v.inner] * s);
          suffixes[a - begin] = s;
        }
        T before = 1;
        for (std::size_t a = 0; a < begin; ++a) before *= x[a * v.inner + i];
        for (std::size_t a = begin; a < end; ++a) {
          const std::size_t k = a * v.inner + i;
          out[k] += before * suffixes[a - begin];
          before *= x[k];
        }
        end = begin;
      }
    }
}

/// log(e^a + e^b).
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> log_add(const Pack<T, U>& a, const Pack<T, U>& b) {
  const Pack<T, U> larger = select((a > b) | (a != a), a, b);
  const Pack<T, U> sum = larger + log1p_of_fraction(vexp(-vabs(a - b)));
  return select(vabs(larger) == infinity<T>, larger, sum);
}

/// A contiguous row: sums of exponentials relative to `reference`, which is near the sum so far, so that vectors take
/// one exponential and one logarithm each; what does not fit that goes by log_add.
template <class T>
TAPESTRY_INLINE void logcumsumexp_row(const T* x, std::size_t n, T* y) {
  constexpr T most = T(4), most_sum = T(64);
  T reference = -infinity<T>, sum = 1;
  for (std::size_t i = 0; i < n; i += lanes<T>) {
    const Pack<T, 1> here{{load_partial<T>(x + i, n - i, -infinity<T>)}}, relative = here - reference;
    const Pack<T, 1> unfit = select(relative <= most, like(here, T(0)), T(1));  // not a number counts as one
    if (horizontal_sum<T>(unfit.v[0]) == T(0)) {
      const Vec<T> sums = scan_lanes<T>(vexp(relative).v[0], Vec<T>{},
                                        [](Vec<T> a, Vec<T> b) TAPESTRY_ALWAYS_INLINE { return a + b; }) +
                          sum;
      const Vec<T> out = vlog(sums) + reference;
      store_partial<T>(y + i, out, n - i);
      sum = sums[lanes<T> - 1];
      if (sum <= most_sum) continue;
      reference = out[lanes<T> - 1];
    } else {
      const auto add = [](Vec<T> a, Vec<T> b) TAPESTRY_ALWAYS_INLINE {
        const Pack<T, 1> before{{a}}, next{{b}};
        return log_add(before, next).v[0];
      };
      const T before = reference + vlog(splat<T>(sum))[0];
      const Vec<T> out = add(splat<T>(before), scan_lanes<T>(here.v[0], splat<T>(-infinity<T>), add));
      store_partial<T>(y + i, out, n - i);
      reference = out[lanes<T> - 1];
    }
    sum = 1;
  }
}

template <class T>
void logcumsumexp(const T* x, AxisView v, T* y) {
  if (v.inner == 1) {
    for (std::size_t o = 0; o < v.outer; ++o) logcumsumexp_row(x + o * v.axis, v.axis, y + o * v.axis);
    return;
  }
  for_tiles<T, 2>(v, [=](std::size_t o, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const std::size_t at = o * v.axis * v.inner + i;
    Pack<T, U> s = splat_pack<T, U>(-infinity<T>);
    for (std::size_t a = 0; a < v.axis; ++a) {
      s = log_add(s, load_some<T, U>(x + at + a * v.inner, m));
      store_some<T, U>(y + at + a * v.inner, s, m);
    }
  });
}
// R(i) = g(i) + e^(y(i) - y(i+1)) R(i+1), and the gradient is e^(x(i) - y(i)) R(i): no exponent is positive.
/// The factor of R(i+1).
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> ratio_of(const Pack<T, U>& here, const Pack<T, U>& next) {
  return select(here == next, like(here, T(1)), vexp(here - next));
}
template <class T, int U>
TAPESTRY_INLINE void store_share(const Pack<T, U>& r, const Pack<T, U>& x, const Pack<T, U>& y, T* out, std::size_t m,
                                 bool accumulate) {
  const Pack<T, U> share = select(x == y, like(x, T(1)), vexp(x - y));
  store_gradient<T, U>(select(y == -infinity<T>, T(0), r), share, out, m, accumulate);
}

/// The exponentials of a contiguous row by vectors; only the sum R goes from element to element.
template <class T>
void logcumsumexp_backward_row(const T* g, const T* x, const T* y, std::size_t n, T* out, bool accumulate) {
  T r = 0, following = infinity<T>;
  for (std::size_t end = n; end > 0;) {
    const std::size_t begin = (end - 1) / lanes<T> * lanes<T>, m = end - begin;
    T next[lanes<T>] = {}, sums[lanes<T>] = {}, ratios[lanes<T>];
    for (std::size_t i = 0; i + 1 < m; ++i) next[i] = y[begin + i + 1];
    next[m - 1] = following;
    const Pack<T, 1> here = load_some<T, 1>(y + begin, m);
    store_pack<T, 1>(ratios, ratio_of(here, load_pack<T, 1>(next)));
    for (std::size_t i = m; i-- > 0;) sums[i] = r = g[begin + i] + ratios[i] * r;
    following = y[begin];
    store_share(load_pack<T, 1>(sums), load_some<T, 1>(x + begin, m), here, out + begin, m, accumulate);
    end = begin;
  }
}
template <class T>
void logcumsumexp_backward(const T* g, const T* x, const T* y, AxisView v, T* out, bool accumulate) {
  if (v.inner == 1) {
    for (std::size_t at = 0; at < v.outer * v.axis; at += v.axis)
      logcumsumexp_backward_row(g + at, x + at, y + at, v.axis, out + at, accumulate);
    return;
  }
  for_tiles<T, 2>(v, [=](std::size_t o, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    Pack<T, U> r{}, next = splat_pack<T, U>(infinity<T>);
    for (std::size_t a = v.axis; a-- > 0;) {
      const std::size_t k = (o * v.axis + a) * v.inner + i;
      const Pack<T, U> here = load_some<T, U>(y + k, m);
      r = load_some<T, U>(g + k, m) + ratio_of(here, next) * r;
      next = here;
      store_share(r, load_some<T, U>(x + k, m), here, out + k, m, accumulate);
    }
  });
}

}  // namespace

template <class T>
void enter_scans(ReduceKernels<T>& t) {
  t.cumsum = cumsum<T>;
  t.cumprod = cumprod<T>;
  t.logcumsumexp = logcumsumexp<T>;
  t.cumprod_backward = cumprod_backward<T>;
  t.logcumsumexp_backward = logcumsumexp_backward<T>;
}
template void enter_scans(ReduceKernels<float>&);
template void enter_scans(ReduceKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
