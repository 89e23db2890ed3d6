#include <tapestry/autodiff/kernels/reduce_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
struct Product {
  static constexpr T identity = T(1);
  template <class P>
  TAPESTRY_INLINE P combine(const P& a, const P& b) {
    return a * b;
  }
};
template <class T>
struct Maximum {
  static constexpr T identity = -infinity<T>;
  template <class P>
  TAPESTRY_INLINE P combine(const P& a, const P& b) {
    return select((a > b) | (a != a), a, b);
  }
  TAPESTRY_INLINE bool better(T a, T b) { return a > b; }
};
template <class T>
struct Minimum {
  static constexpr T identity = infinity<T>;
  template <class P>
  TAPESTRY_INLINE P combine(const P& a, const P& b) {
    return select((a < b) | (a != a), a, b);
  }
  TAPESTRY_INLINE bool better(T a, T b) { return a < b; }
};

template <class T, class F>
TAPESTRY_INLINE T reduce_row(const T* x, std::size_t n) {
  Pack<T, 4> s = splat_pack<T, 4>(F::identity);
  std::size_t i = 0;
  for (; i + s.size <= n; i += s.size) s = F::combine(s, load_pack<T, 4>(x + i));
  Pack<T, 1> one{{s.v[0]}};
  for (int u = 1; u < 4; ++u) one = F::combine(one, Pack<T, 1>{{s.v[u]}});
  for (; i < n; i += lanes<T>) one = F::combine(one, Pack<T, 1>{{load_partial<T>(x + i, n - i, F::identity)}});
  T buffer[lanes<T>];
  store<T>(buffer, one.v[0]);
  for (std::size_t half = lanes<T> / 2; half > 0; half /= 2) {
    const Pack<T, 1> a{{load_partial<T>(buffer, half)}}, b{{load_partial<T>(buffer + half, half)}};
    store_partial<T>(buffer, F::combine(a, b).v[0], half);
  }
  return buffer[0];
}

template <class T, class F>
void reduce(const T* x, AxisView v, T* y) {
  if (v.inner == 1) {
    for (std::size_t o = 0; o < v.outer; ++o) y[o] = reduce_row<T, F>(x + o * v.axis, v.axis);
    return;
  }
  for_tiles<T, 4>(v, [=](std::size_t o, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    Pack<T, U> s = splat_pack<T, U>(F::identity);
    const T* from = x + o * v.axis * v.inner + i;
    for (std::size_t a = 0; a < v.axis; ++a) s = F::combine(s, load_some<T, U>(from + a * v.inner, m));
    store_some<T, U>(y + o * v.inner + i, s, m);
  });
}

template <class T, class F>
void argument(const T* x, AxisView v, std::int64_t* index) {
  for (std::size_t o = 0; o < v.outer; ++o) {
    const T* slice = x + o * v.axis * v.inner;
    if (v.inner == 1) {
      const T best = reduce_row<T, F>(slice, v.axis);
      std::size_t a = 0;
      if (best == best)
        while (slice[a] != best) ++a;
      else
        while (slice[a] == slice[a]) ++a;
      index[o] = std::int64_t(a);
      continue;
    }
    // In strips whose best values stay in the first cache.
    constexpr std::size_t strip = 256;
    T best[strip];
    for (std::size_t from = 0; from < v.inner; from += strip) {
      const std::size_t n = v.inner - from < strip ? v.inner - from : strip;
      std::int64_t* to = index + o * v.inner + from;
      for (std::size_t i = 0; i < n; ++i) best[i] = slice[from + i], to[i] = 0;
      for (std::size_t a = 1; a < v.axis; ++a) {
        const T* row = slice + a * v.inner + from;
        for (std::size_t i = 0; i < n; ++i) {
          const bool take = (F::better(row[i], best[i]) || row[i] != row[i]) && best[i] == best[i];
          best[i] = take ? row[i] : best[i];
          to[i] = take ? std::int64_t(a) : to[i];
        }
      }
    }
  }
}

template <class T>
void extremum_backward(const T* g, const T* x, const T* y, AxisView v, T* out, bool accumulate) {
  for (std::size_t o = 0; o < v.outer; ++o)
    for (std::size_t i = 0; i < v.inner; ++i) {
      const std::size_t at = o * v.axis * v.inner + i;
      const T best = y[o * v.inner + i];
      std::size_t ties = 0;
      for (std::size_t a = 0; a < v.axis; ++a) ties += x[at + a * v.inner] == best;
      const T share = ties == 0 ? T(0) : g[o * v.inner + i] / T(ties);
      for (std::size_t a = 0; a < v.axis; ++a) {
        const std::size_t k = at + a * v.inner;
        const T r = x[k] == best ? share : T(0);
        out[k] = accumulate ? out[k] + r : r;
      }
    }
}

template <class T>
void product_backward(const T* g, const T* x, AxisView v, T* out, bool accumulate) {
  for (std::size_t o = 0; o < v.outer; ++o)
    for (std::size_t i = 0; i < v.inner; ++i) {
      const std::size_t at = o * v.axis * v.inner + i;
      T others = g[o * v.inner + i];
      std::size_t zeros = 0;
      for (std::size_t a = 0; a < v.axis; ++a) {
        const T value = x[at + a * v.inner];
        zeros += value == T(0);
        others *= value == T(0) ? T(1) : value;
      }
      for (std::size_t a = 0; a < v.axis; ++a) {
        const std::size_t k = at + a * v.inner;
        const T r = zeros == 0 ? others / x[k] : zeros == 1 && x[k] == T(0) ? others : T(0);
        out[k] = accumulate ? out[k] + r : r;
      }
    }
}

}  // namespace

template <class T>
void enter_extrema(ReduceKernels<T>& t) {
  t.product = reduce<T, Product<T>>;
  t.maximum = reduce<T, Maximum<T>>;
  t.minimum = reduce<T, Minimum<T>>;
  t.argmax = argument<T, Maximum<T>>;
  t.argmin = argument<T, Minimum<T>>;
  t.extremum_backward = extremum_backward<T>;
  t.product_backward = product_backward<T>;
}
template void enter_extrema(ReduceKernels<float>&);
template void enter_extrema(ReduceKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
