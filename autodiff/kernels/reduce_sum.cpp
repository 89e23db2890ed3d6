#include <tapestry/autodiff/kernels/reduce_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

struct Plain {
  template <class P>
  TAPESTRY_INLINE P term(const P& x, const P&) {
    return x;
  }
};
struct Squares {
  template <class P>
  TAPESTRY_INLINE P term(const P& x, const P&) {
    return x * x;
  }
};
struct Products {
  template <class P>
  TAPESTRY_INLINE P term(const P& x, const P& z) {
    return x * z;
  }
};

/// The terms of x[0..n), n at most a block, in eight accumulators.
template <class T, class F>
TAPESTRY_INLINE Vec<T> block_of_row(const T* x, const T* z, std::size_t n) {
  Pack<T, 8> s{};
  std::size_t i = 0;
  for (; i + s.size <= n; i += s.size) s = s + F::term(load_pack<T, 8>(x + i), load_pack<T, 8>(z + i));
  Pack<T, 1> rest{};
  for (; i < n; i += lanes<T>) {
    const Pack<T, 1> a{{load_partial<T>(x + i, n - i)}}, b{{load_partial<T>(z + i, n - i)}};
    rest = rest + F::term(a, b);
  }
  return (((s.v[0] + s.v[1]) + (s.v[2] + s.v[3])) + ((s.v[4] + s.v[5]) + (s.v[6] + s.v[7]))) + rest.v[0];
}
template <class T, class F>
T sum_of_row(const T* x, const T* z, std::size_t n) {
  constexpr std::size_t block = 128 * lanes<T>;
  if (n <= block) return horizontal_sum<T>(block_of_row<T, F>(x, z, n));
  PairwiseTotal<Pack<T, 1>> total;
  std::size_t i = 0;
  for (; i + block <= n; i += block) total.add(total, {{block_of_row<T, F>(x + i, z + i, block)}});
  return horizontal_sum<T>(total.total(total, {{block_of_row<T, F>(x + i, z + i, n - i)}}).v[0]);
}

/// A tile of the inner axis, over all of the axis.
template <class T, class F, int U>
TAPESTRY_INLINE Pack<T, U> sum_of_tile(const T* x, const T* z, std::size_t axis, std::size_t inner, std::size_t m) {
  constexpr std::size_t block = 64;
  Pack<T, U> s{};
  if (axis <= block) {
    for (std::size_t a = 0; a < axis; ++a)
      s = s + F::term(load_some<T, U>(x + a * inner, m), load_some<T, U>(z + a * inner, m));
    return s;
  }
  PairwiseTotal<Pack<T, U>> total;
  for (std::size_t a = 0; a < axis; ++a) {
    s = s + F::term(load_some<T, U>(x + a * inner, m), load_some<T, U>(z + a * inner, m));
    if ((a + 1) % block == 0) {
      total.add(total, s);
      s = Pack<T, U>{};
    }
  }
  return total.total(total, s);
}

template <class T, class F>
TAPESTRY_INLINE void sum_loop(const T* x, const T* z, AxisView v, T* y, bool accumulate) {
  if (v.inner == 1) {
    for (std::size_t o = 0; o < v.outer; ++o) {
      const T s = sum_of_row<T, F>(x + o * v.axis, z + o * v.axis, v.axis);
      y[o] = accumulate ? y[o] + s : s;
    }
    return;
  }
  for_tiles<T, 8>(v, [=](std::size_t o, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const std::size_t at = o * v.axis * v.inner + i;
    Pack<T, U> s = sum_of_tile<T, F, U>(x + at, z + at, v.axis, v.inner, m);
    T* to = y + o * v.inner + i;
    if (accumulate) s = s + load_some<T, U>(to, m);
    store_some<T, U>(to, s, m);
  });
}
template <class T>
void sum(const T* x, AxisView v, T* y, bool accumulate) {
  sum_loop<T, Plain>(x, x, v, y, accumulate);
}
template <class T>
void sum_of_squares(const T* x, AxisView v, T* y, bool accumulate) {
  sum_loop<T, Squares>(x, x, v, y, accumulate);
}
template <class T>
void sum_of_products(const T* x, const T* z, AxisView v, T* y, bool accumulate) {
  sum_loop<T, Products>(x, z, v, y, accumulate);
}

template <class T>
void expand(const T* g, T factor, AxisView v, T* out, bool accumulate) {
  for (std::size_t o = 0; o < v.outer; ++o) {
    if (v.inner == 1) {
      const T value = factor * g[o];
      T* row = out + o * v.axis;
      for (std::size_t a = 0; a < v.axis; ++a) row[a] = accumulate ? row[a] + value : value;
      continue;
    }
    const T* from = g + o * v.inner;
    for (std::size_t a = 0; a < v.axis; ++a) {
      T* row = out + (o * v.axis + a) * v.inner;
      if (accumulate)
        for (std::size_t i = 0; i < v.inner; ++i) row[i] += factor * from[i];
      else
        for (std::size_t i = 0; i < v.inner; ++i) row[i] = factor * from[i];
    }
  }
}

}  // namespace

template <class T>
void enter_sums(ReduceKernels<T>& t) {
  t.sum = sum<T>;
  t.sum_of_squares = sum_of_squares<T>;
  t.sum_of_products = sum_of_products<T>;
  t.expand = expand<T>;
}
template void enter_sums(ReduceKernels<float>&);
template void enter_sums(ReduceKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
