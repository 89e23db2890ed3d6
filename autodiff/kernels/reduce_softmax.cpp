#include <tapestry/autodiff/kernels/reduce_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

enum class Output { logsumexp, softmax, log_softmax };

template <class T>
TAPESTRY_INLINE T scalar_log(T x) {
  return vlog(splat<T>(x))[0];
}

template <class T, Output output>
void rows(const T* x, AxisView v, T* y) {
  for (std::size_t o = 0; o < v.outer; ++o, x += v.axis) {
    const T largest = largest_of_row<T>(x, v.axis);
    if (largest == -infinity<T>) {
      // All impossible, unless a NaN hides behind -inf.
      T rest = 0;
      for (std::size_t a = 0; a < v.axis; ++a) rest += x[a] == x[a] ? T(0) : x[a];
      if constexpr (output == Output::logsumexp)
        *y++ = largest + rest;
      else
        for (std::size_t a = 0; a < v.axis; ++a) *y++ = (output == Output::softmax ? T(0) : largest) + rest;
      continue;
    }
    Pack<T, 4> sums{};
    Pack<T, 1> rest{};
    std::size_t i = 0;
    for (; i + sums.size <= v.axis; i += sums.size) {
      const Pack<T, 4> d = below(load_pack<T, 4>(x + i), splat_pack<T, 4>(largest));
      const Pack<T, 4> e = vexp(d);
      if constexpr (output == Output::softmax) store_pack<T, 4>(y + i, e);
      sums = sums + e;
    }
    for (; i < v.axis; i += lanes<T>) {
      const Pack<T, 1> p{{load_partial<T>(x + i, v.axis - i, -infinity<T>)}};
      const Pack<T, 1> e = vexp(below(p, splat_pack<T, 1>(largest)));
      if constexpr (output == Output::softmax) store_partial<T>(y + i, e.v[0], v.axis - i);
      rest = rest + e;
    }
    const T sum = horizontal_sum<T>(((sums.v[0] + sums.v[1]) + (sums.v[2] + sums.v[3])) + rest.v[0]);
    if constexpr (output == Output::logsumexp) {
      *y++ = largest + scalar_log<T>(sum);
    } else if constexpr (output == Output::softmax) {
      const T scale = T(1) / sum;
      for (std::size_t a = 0; a < v.axis; ++a) y[a] *= scale;
      y += v.axis;
    } else {
      const T log_sum = scalar_log<T>(sum);
      for_packs<T, 4>(v.axis, [=](std::size_t a, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
        constexpr int U = decltype(width)::value;
        const Pack<T, U> d = below(load_some<T, U>(x + a, m), splat_pack<T, U>(largest));
        store_some<T, U>(y + a, d - log_sum, m);
      });
      y += v.axis;
    }
  }
}

template <class T, Output output>
void columns(const T* x, AxisView v, T* y) {
  for_tiles<T, 2>(v, [=](std::size_t o, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const T* from = x + o * v.axis * v.inner + i;
    T* to = y + o * (output == Output::logsumexp ? 1 : v.axis) * v.inner + i;
    Pack<T, U> largest = splat_pack<T, U>(-infinity<T>), sum{};
    for (std::size_t a = 0; a < v.axis; ++a) {
      const Pack<T, U> p = load_some<T, U>(from + a * v.inner, m);
      largest = select(largest > p, largest, select(p == p, p, largest));
    }
    for (std::size_t a = 0; a < v.axis; ++a) {
      const Pack<T, U> e = vexp(below(load_some<T, U>(from + a * v.inner, m), largest));
      if constexpr (output == Output::softmax) store_some<T, U>(to + a * v.inner, e, m);
      sum = sum + e;
    }
    const Bits<T, U> impossible = (largest == -infinity<T>)&(sum == sum);
    if constexpr (output == Output::logsumexp) {
      store_some<T, U>(to, largest + vlog(sum), m);
    } else if constexpr (output == Output::softmax) {
      const Pack<T, U> scale = select(impossible, T(0), T(1) / sum);
      for (std::size_t a = 0; a < v.axis; ++a)
        store_some<T, U>(to + a * v.inner, load_some<T, U>(to + a * v.inner, m) * scale, m);
    } else {
      const Pack<T, U> log_sum = select(impossible, infinity<T>, vlog(sum));
      for (std::size_t a = 0; a < v.axis; ++a)
        store_some<T, U>(to + a * v.inner, below(load_some<T, U>(from + a * v.inner, m), largest) - log_sum, m);
    }
  });
}

template <class T, Output output>
void normalise(const T* x, AxisView v, T* y) {
  v.inner == 1 ? rows<T, output>(x, v, y) : columns<T, output>(x, v, y);
}

template <class T>
void logsumexp_backward(const T* g, const T* x, const T* y, AxisView v, T* out, bool accumulate) {
  if (v.inner == 1) {
    for (std::size_t o = 0; o < v.outer; ++o) {
      const T go = y[o] == -infinity<T> ? T(0) : g[o], yo = y[o];
      const std::size_t at = o * v.axis;
      for_packs<T, 4>(v.axis, [=](std::size_t a, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
        constexpr int U = decltype(width)::value;
        const Pack<T, U> e = vexp(below(load_some<T, U>(x + at + a, m), splat_pack<T, U>(yo)));
        store_gradient<T, U>(splat_pack<T, U>(go), e, out + at + a, m, accumulate);
      });
    }
    return;
  }
  for_tiles<T, 2>(v, [=](std::size_t o, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const Pack<T, U> py = load_some<T, U>(y + o * v.inner + i, m);
    const Pack<T, U> pg = select(py == -infinity<T>, T(0), load_some<T, U>(g + o * v.inner + i, m));
    for (std::size_t a = 0; a < v.axis; ++a) {
      const std::size_t at = (o * v.axis + a) * v.inner + i;
      store_gradient<T, U>(pg, vexp(below(load_some<T, U>(x + at, m), py)), out + at, m, accumulate);
    }
  });
}

/// The two differ in what is summed (g y, or g) and in what is taken off (y sum, or e^y sum).
template <class T, bool logarithmic, int U>
TAPESTRY_INLINE Pack<T, U> term(const Pack<T, U>& g, const Pack<T, U>& y) {
  if constexpr (logarithmic) return g;
  return g * y;
}
template <class T, bool logarithmic, int U>
TAPESTRY_INLINE Pack<T, U> centred(const Pack<T, U>& g, const Pack<T, U>& y, const Pack<T, U>& sum) {
  if constexpr (logarithmic) return g - vexp(y) * sum;
  return y * (g - sum);
}
template <class T, bool logarithmic>
void normalise_backward(const T* g, const T* y, AxisView v, T* out, bool accumulate) {
  if (v.inner == 1) {
    for (std::size_t o = 0; o < v.outer; ++o) {
      const std::size_t at = o * v.axis;
      Pack<T, 4> s{};
      Pack<T, 1> rest{};
      std::size_t i = 0;
      for (; i + s.size <= v.axis; i += s.size)
        s = s + term<T, logarithmic, 4>(load_pack<T, 4>(g + at + i), load_pack<T, 4>(y + at + i));
      for (; i < v.axis; i += lanes<T>) {
        const Pack<T, 1> pg{{load_partial<T>(g + at + i, v.axis - i)}}, py{{load_partial<T>(y + at + i, v.axis - i)}};
        rest = rest + term<T, logarithmic, 1>(pg, py);
      }
      const T sum = horizontal_sum<T>(((s.v[0] + s.v[1]) + (s.v[2] + s.v[3])) + rest.v[0]);
      for_packs<T, 4>(v.axis, [=](std::size_t a, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
        constexpr int U = decltype(width)::value;
        Pack<T, U> r = centred<T, logarithmic, U>(load_some<T, U>(g + at + a, m), load_some<T, U>(y + at + a, m),
                                                  splat_pack<T, U>(sum));
        if (accumulate) r = r + load_some<T, U>(out + at + a, m);
        store_some<T, U>(out + at + a, r, m);
      });
    }
    return;
  }
  for_tiles<T, 2>(v, [=](std::size_t o, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const std::size_t at = o * v.axis * v.inner + i;
    Pack<T, U> sum{};
    for (std::size_t a = 0; a < v.axis; ++a)
      sum = sum +
            term<T, logarithmic, U>(load_some<T, U>(g + at + a * v.inner, m), load_some<T, U>(y + at + a * v.inner, m));
    for (std::size_t a = 0; a < v.axis; ++a) {
      const std::size_t k = at + a * v.inner;
      Pack<T, U> r = centred<T, logarithmic, U>(load_some<T, U>(g + k, m), load_some<T, U>(y + k, m), sum);
      if (accumulate) r = r + load_some<T, U>(out + k, m);
      store_some<T, U>(out + k, r, m);
    }
  });
}

}  // namespace

template <class T>
void enter_softmax(ReduceKernels<T>& t) {
  t.logsumexp = normalise<T, Output::logsumexp>;
  t.softmax = normalise<T, Output::softmax>;
  t.log_softmax = normalise<T, Output::log_softmax>;
  t.logsumexp_backward = logsumexp_backward<T>;
  t.softmax_backward = normalise_backward<T, false>;
  t.log_softmax_backward = normalise_backward<T, true>;
}
template void enter_softmax(ReduceKernels<float>&);
template void enter_softmax(ReduceKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
