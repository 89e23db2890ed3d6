#include <tapestry/autodiff/kernels/losses.hpp>

#include <tapestry/autodiff/kernels/reduce_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

struct BinaryCrossEntropy {
  static constexpr PairLoss id = PairLoss::binary_cross_entropy;
  static constexpr int width = 4;
  // (1 - t) x or -t x on the side where it counts: a target that is certain costs nothing where x is infinite.
  template <class V, class T>
  TAPESTRY_INLINE V value(const V& x, const V& t, T) {
    const V share = select(x > 0, 1 - t, -t);
    return select(share == 0, 0, share * x) + log1p_of_fraction(vexp(-vabs(x)));
  }
  template <class V, class T>
  TAPESTRY_INLINE V to_x(const V& x, const V& t, T) {
    return vsigmoid(x) - t;
  }
  template <class V, class T>
  TAPESTRY_INLINE V to_t(const V& x, const V&, T) {
    return -x;
  }
};

// Functions of x - t.
template <class F>
struct OfDifference : F {
  static constexpr int width = 4;
  template <class V, class T>
  TAPESTRY_INLINE V value(const V& x, const V& t, T p) {
    return F::of(x - t, p);
  }
  template <class V, class T>
  TAPESTRY_INLINE V to_x(const V& x, const V& t, T p) {
    return F::slope(x - t, p);
  }
  template <class V, class T>
  TAPESTRY_INLINE V to_t(const V& x, const V& t, T p) {
    return -F::slope(x - t, p);
  }
};
struct Squared {
  static constexpr PairLoss id = PairLoss::squared;
  template <class V, class T>
  TAPESTRY_INLINE V of(const V& r, T) {
    return r * r;
  }
  template <class V, class T>
  TAPESTRY_INLINE V slope(const V& r, T) {
    return r + r;
  }
};
struct Absolute {
  static constexpr PairLoss id = PairLoss::absolute;
  template <class V, class T>
  TAPESTRY_INLINE V of(const V& r, T) {
    return vabs(r);
  }
  template <class V, class T>
  TAPESTRY_INLINE V slope(const V& r, T) {
    return select(r > 0, like(r, 1), select(r < 0, like(r, -1), r));
  }
};
struct Huber {
  static constexpr PairLoss id = PairLoss::huber;
  template <class V, class T>
  TAPESTRY_INLINE V of(const V& r, T delta) {
    const V size = vabs(r), inner = less_or_second(delta, size);
    return inner * (size - T(0.5) * inner);
  }
  template <class V, class T>
  TAPESTRY_INLINE V slope(const V& r, T delta) {
    return greater_or_second(-delta, less_or_second(delta, r));
  }
};
struct Hinge {
  static constexpr PairLoss id = PairLoss::hinge;
  static constexpr int width = 4;
  template <class V, class T>
  TAPESTRY_INLINE V value(const V& x, const V& t, T) {
    return greater_or_second(0, 1 - t * x);
  }
  template <class V, class T>
  TAPESTRY_INLINE V to_x(const V& x, const V& t, T) {
    return select(t * x < 1, -t, 0);
  }
  template <class V, class T>
  TAPESTRY_INLINE V to_t(const V& x, const V& t, T) {
    return select(t * x < 1, -x, 0);
  }
};

template <class T, class F>
void value_loop(const T* x, const T* t, T p, T* y, std::size_t n) {
  for_packs<T, F::width>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    store_some<T, U>(y + i, F::value(load_some<T, U>(x + i, m), load_some<T, U>(t + i, m), p), m);
  });
}
template <class T, class F, bool to_x>
void gradient_loop(const T* g, std::size_t stride_g, const T* x, const T* t, T p, T* out, std::size_t n,
                   bool accumulate) {
  for_packs<T, F::width>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const Pack<T, U> px = load_some<T, U>(x + i, m), pt = load_some<T, U>(t + i, m);
    const Pack<T, U> pg = load_strided<T, U>(g, i, stride_g, m);
    if constexpr (to_x)
      store_gradient<T, U>(pg, F::to_x(px, pt, p), out + i, m, accumulate);
    else
      store_gradient<T, U>(pg, F::to_t(px, pt, p), out + i, m, accumulate);
  });
}
template <class T, class... F>
void enter(LossKernels<T>& t) {
  ((t.value[int(F::id)] = value_loop<T, F>, t.gradient_x[int(F::id)] = gradient_loop<T, F, true>,
    t.gradient_t[int(F::id)] = gradient_loop<T, F, false>),
   ...);
}

template <class T>
void sums_below_largest(const T* x, std::size_t rows, std::size_t columns, T* largest, T* sum) {
  for (std::size_t r = 0; r < rows; ++r, x += columns) {
    const T top = largest_of_row<T>(x, columns);
    largest[r] = top;
    if (top == -infinity<T>) {
      // All impossible, unless a NaN hides behind -inf.
      sum[r] = infinity<T>;
      for (std::size_t k = 0; k < columns; ++k)
        if (x[k] != x[k]) sum[r] = x[k];
      continue;
    }
    Pack<T, 4> sums{};
    Pack<T, 1> rest{};
    std::size_t i = 0;
    for (; i + sums.size <= columns; i += sums.size)
      sums = sums + vexp(below(load_pack<T, 4>(x + i), splat_pack<T, 4>(top)));
    for (; i < columns; i += lanes<T>) {
      const Pack<T, 1> p{{load_partial<T>(x + i, columns - i, -infinity<T>)}};
      rest = rest + vexp(below(p, splat_pack<T, 1>(top)));
    }
    sum[r] = horizontal_sum<T>(((sums.v[0] + sums.v[1]) + (sums.v[2] + sums.v[3])) + rest.v[0]);
  }
}
// The logarithms of all sums in one go.
template <class T>
void log_normalizer(const T* x, std::size_t rows, std::size_t columns, T* largest, T* log_sum) {
  sums_below_largest(x, rows, columns, largest, log_sum);
  for_packs<T, 4>(rows, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    store_some<T, U>(log_sum + i, vlog(load_some<T, U>(log_sum + i, m)), m);
  });
}

template <class T>
void weighted_difference(const T* x, std::size_t rows, std::size_t columns, const T* largest, const T* log_sum,
                         const T* a, const T* b, const T* w, std::size_t stride_w, T* out, bool accumulate) {
  for (std::size_t r = 0; r < rows; ++r, x += columns, out += columns, w += w == nullptr ? 0 : stride_w) {
    const T top = largest[r], sum = log_sum[r], scale = a[r], share = w == nullptr ? T(0) : b[r];
    if (scale == T(0) && share == T(0)) {
      no_gradient<T>(out, columns, accumulate);
      continue;
    }
    for_packs<T, 4>(columns, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
      constexpr int U = decltype(width)::value;
      Pack<T, U> y = splat_pack<T, U>(scale) * vexp(below(load_some<T, U>(x + i, m), splat_pack<T, U>(top)) - sum);
      if (w != nullptr) y = y - load_some<T, U>(w + i, m) * share;
      if (accumulate) y = y + load_some<T, U>(out + i, m);
      store_some<T, U>(out + i, y, m);
    });
  }
}

template <class T>
struct Table : LossKernels<T> {
  Table() : LossKernels<T>{} {
    enter<T, BinaryCrossEntropy, OfDifference<Squared>, OfDifference<Absolute>, OfDifference<Huber>, Hinge>(*this);
    this->log_normalizer = TAPESTRY_ARCH::log_normalizer<T>;
    this->weighted_difference = TAPESTRY_ARCH::weighted_difference<T>;
  }
};

}  // namespace

template <>
const LossKernels<float>& kernels() {
  static const Table<float> table;
  return table;
}
template <>
const LossKernels<double>& kernels() {
  static const Table<double> table;
  return table;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
