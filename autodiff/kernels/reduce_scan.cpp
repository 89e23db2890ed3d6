#include <tapestry/autodiff/kernels/reduce_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void cumsum(const T* x, AxisView v, T* y, bool reverse) {
  for (std::size_t o = 0; o < v.outer; ++o, x += v.axis * v.inner, y += v.axis * v.inner) {
    if (v.inner == 1) {
      T s = 0;
      if (reverse)
        for (std::size_t a = v.axis; a-- > 0;) y[a] = s += x[a];
      else
        for (std::size_t a = 0; a < v.axis; ++a) y[a] = s += x[a];
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

template <class T>
void logcumsumexp(const T* x, AxisView v, T* y) {
  for_tiles<T, 2>(v, [=](std::size_t o, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const std::size_t at = o * v.axis * v.inner + i;
    Pack<T, U> s = splat_pack<T, U>(-infinity<T>);
    for (std::size_t a = 0; a < v.axis; ++a) {
      const Pack<T, U> p = load_some<T, U>(x + at + a * v.inner, m);
      const Pack<T, U> larger = select((s > p) | (s != s), s, p);
      const Pack<T, U> sum = larger + log1p_of_fraction(vexp(-vabs(s - p)));
      s = select(vabs(larger) == infinity<T>, larger, sum);
      store_some<T, U>(y + at + a * v.inner, s, m);
    }
  });
}
/// R(i) = g(i) + e^(y(i) - y(i+1)) R(i+1), and the gradient is e^(x(i) - y(i)) R(i): no exponent is positive.
template <class T>
void logcumsumexp_backward(const T* g, const T* x, const T* y, AxisView v, T* out, bool accumulate) {
  for_tiles<T, 2>(v, [=](std::size_t o, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    Pack<T, U> r{}, next = splat_pack<T, U>(infinity<T>);
    for (std::size_t a = v.axis; a-- > 0;) {
      const std::size_t k = (o * v.axis + a) * v.inner + i;
      const Pack<T, U> here = load_some<T, U>(y + k, m);
      const Pack<T, U> ratio = select(here == next, like(here, T(1)), vexp(here - next));
      r = load_some<T, U>(g + k, m) + ratio * r;
      next = here;
      const Pack<T, U> p = load_some<T, U>(x + k, m);
      const Pack<T, U> share = select(p == here, like(p, T(1)), vexp(p - here));
      store_gradient<T, U>(select(here == -infinity<T>, T(0), r), share, out + k, m, accumulate);
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
