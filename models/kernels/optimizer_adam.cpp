#include <tapestry/models/kernels/optimizer_loop.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

using Int = std::int64_t;

/// Whether what is lost by taking subnormal numbers as 0 is less than what rounding takes from a sum with epsilon.
template <class T>
bool subnormals_vanish(const AdamStep<T>& s) {
  constexpr T smallest = sizeof(T) == 4 ? T(__FLT_MIN__ / __FLT_EPSILON__) : T(__DBL_MIN__ / __DBL_EPSILON__);
  return s.adaptive && s.epsilon * s.epsilon > smallest;
}

/// Whether the gradient and the parameters are taken as they are, and the step by the means alone: half of the
/// arithmetic is saved then. The mean of the squares is moved by a difference, which must not cancel.
template <class T>
bool is_plain(const UpdateTerms<T>& t, const AdamStep<T>& s) {
  return s.beta2 >= T(0.5) && t.gradient_scale == T(1) && t.gradient_limit > __DBL_MAX__ && t.l2 == T(0) &&
         t.shrink == T(1) && t.threshold == T(0) && s.gradient_rate == T(0) && s.adaptive && !s.keep_largest;
}

/// The step with numerator and denominator divided by the root's square root, which saves a product by element.
template <class T>
AdamStep<T> without_root(AdamStep<T> s) {
  if (!s.adaptive) return s;
  const T scale = T(1) / T(__builtin_sqrt(double(s.root)));
  s.mean_rate *= scale, s.gradient_rate *= scale, s.epsilon *= scale;
  return s;
}

/// U vectors of elements, or m elements of one.
template <bool plain, class T, int U>
TAPESTRY_INLINE void adam_elements(T* parameters, const Pack<T, U>& gradient, T* mean, T* variance, T* largest,
                                   std::size_t m, const UpdateTerms<T>& t, const AdamStep<T>& s) {
  const Pack<T, U> p = load_some<T, U>(parameters, m);
  Pack<T, U> g = gradient;
  if constexpr (!plain) g = effective_gradient<T, U>(gradient, p, t);
  const Pack<T, U> mean_before = load_some<T, U>(mean, m), before = load_some<T, U>(variance, m);
  const Pack<T, U> first = multiply_add(g - mean_before, s.fresh1, mean_before);
  Pack<T, U> second;
  if constexpr (plain)
    second = multiply_add(g * g - before, s.fresh2, before);
  else
    second = multiply_add(before, s.beta2, (g * g) * s.fresh2);
  store_some<T, U>(mean, first, m);
  store_some<T, U>(variance, second, m);
  if constexpr (plain) {
    store_some<T, U>(parameters, p - first * s.mean_rate / (vsqrt(second) + s.epsilon), m);
  } else {
    if (largest != nullptr) {
      const auto most = load_some<T, U>(largest, m);
      second = select(most > second, most, second);
      store_some<T, U>(largest, second, m);
    }
    const auto direction = multiply_add(first, s.mean_rate, g * s.gradient_rate);
    const auto step = s.adaptive ? direction / (vsqrt(second) + s.epsilon) : direction;
    store_some<T, U>(parameters, soft_threshold<T, U>(p * t.shrink - step, t.threshold), m);
  }
}

template <class T>
void adam(T* parameters, const T* gradient, T* const* state, std::size_t n, const UpdateTerms<T>& terms,
          const AdamStep<T>& step) {
  const SubnormalsAreZero mode(subnormals_vanish(step));
  const auto run = [&]<bool plain>() TAPESTRY_ALWAYS_INLINE {
    const UpdateTerms<T> t = terms;
    const AdamStep<T> s = without_root(step);
    T *const mean = state[0], *const variance = state[1];
    T* const largest = s.keep_largest ? state[2] : nullptr;
    for_packs<T, 2>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
      constexpr int U = decltype(width)::value;
      adam_elements<plain, T, U>(parameters + i, load_some<T, U>(gradient + i, m), mean + i, variance + i,
                                 largest == nullptr ? nullptr : largest + i, m, t, s);
    });
  };
  is_plain(terms, step) ? run.template operator()<true>() : run.template operator()<false>();
}

/// Calls f with the constants from I to N - 1: compilers keep arrays in registers that are read at constants only.
template <int N, int I = 0, class F>
TAPESTRY_INLINE void unrolled(F f) {
  if constexpr (I < N) {
    f.template operator()<I>();
    unrolled<N, I + 1>(f);
  }
}

/// The gradient of R rows and V vectors of columns stays in registers.
template <bool plain, int R, int V, bool whole, class T>
TAPESTRY_INLINE void adam_tile(T* parameters, T* mean, T* variance, T* largest, const GradientProduct<T>& product,
                               const T* x, const T* g, std::size_t m, const UpdateTerms<T>& t, const AdamStep<T>& s) {
  const Int columns = product.columns;
  Vec<T> sum[R * V] = {};
  for (Int k = 0; k < product.few; ++k) {
    Vec<T> y[V];
    unrolled<V>([&]<int v>()
                    TAPESTRY_ALWAYS_INLINE { y[v] = whole ? load<T>(g + v * Int(lanes<T>)) : load_partial<T>(g, m); });
    // Not splat(), which takes an addition. As in the kernel that gives the gradient, products are fused with the sum.
    unrolled<R * V>([&]<int i>() TAPESTRY_ALWAYS_INLINE {
#if defined(__clang__)
#pragma clang fp contract(fast)
#endif
      sum[i] += (x[i / V] - Vec<T>{}) * y[i % V];
    });
    x += product.rows, g += columns;
  }
  unrolled<R * V>([&]<int i>() TAPESTRY_ALWAYS_INLINE {
    const Int at = i / V * columns + i % V * Int(lanes<T>);
    adam_elements<plain, T, 1>(parameters + at, {{sum[i]}}, mean + at, variance + at,
                               largest == nullptr ? nullptr : largest + at, whole ? lanes<T> : m, t, s);
  });
}

template <class T>
void adam_rows(T* parameters, T* const* state, const GradientProduct<T>& product, Int begin, Int end,
               const UpdateTerms<T>& terms, const AdamStep<T>& step) {
  const SubnormalsAreZero mode(subnormals_vanish(step));
  const auto run = [&]<bool plain>() TAPESTRY_ALWAYS_INLINE {
    const UpdateTerms<T> t = terms;
    const AdamStep<T> s = without_root(step);
    const GradientProduct<T> of = product;
    const Int columns = of.columns;
    T *const mean = state[0], *const variance = state[1];
    T* const largest = s.keep_largest ? state[2] : nullptr;
    const auto row_group = [=]<int R>(Int i) TAPESTRY_ALWAYS_INLINE {
      const T* const x = of.x + i;
      const auto tile = [=]<int V, bool whole>(Int j, std::size_t m) TAPESTRY_ALWAYS_INLINE {
        const Int at = (i - begin) * columns + j;
        adam_tile<plain, R, V, whole>(parameters + at, mean + at, variance + at,
                                      largest == nullptr ? nullptr : largest + at, of, x, of.g + j, m, t, s);
      };
      constexpr Int one = lanes<T>, two = 2 * one;
      Int j = 0;
      for (; j + two <= columns; j += two) tile.template operator()<2, true>(j, two);
      for (; j < columns; j += one)
        tile.template operator()<1, false>(j, std::size_t(columns - j < one ? columns - j : one));
    };
    Int i = begin;
    for (; i + 4 <= end; i += 4) row_group.template operator()<4>(i);
    for (; i < end; ++i) row_group.template operator()<1>(i);
  };
  is_plain(terms, step) ? run.template operator()<true>() : run.template operator()<false>();
}

template <class T>
void lamb_direction(const T* parameters, const T* gradient, T* const* state, T* direction, std::size_t n,
                    const UpdateTerms<T>& terms, const LambStep<T>& step, double* sums) {
  const UpdateTerms<T> t = terms;
  const LambStep<T> s = step;
  T *const mean = state[0], *const variance = state[1];
  Vec<T> parameter_squares{}, direction_squares{};
  for (std::size_t i = 0; i < n; i += lanes<T>) {
    const std::size_t m = n - i < lanes<T> ? n - i : lanes<T>;
    // Missing lanes are zero, so that they add nothing to the sums.
    const Pack<T, 1> p{{load_partial<T>(parameters + i, m)}};
    const auto g = effective_gradient<T, 1>(load_some<T, 1>(gradient + i, m), p, t);
    const auto first = load_some<T, 1>(mean + i, m) * s.beta1 + g * s.fresh1;
    const auto second = load_some<T, 1>(variance + i, m) * s.beta2 + (g * g) * s.fresh2;
    store_some<T, 1>(mean + i, first, m);
    store_some<T, 1>(variance + i, second, m);
    const auto d = first * s.mean_scale / (vsqrt(second * s.root) + s.epsilon) + p * s.weight_decay;
    store_some<T, 1>(direction + i, d, m);
    parameter_squares += p.v[0] * p.v[0];
    const Vec<T> whole = load_partial<T>(direction + i, m);
    direction_squares += whole * whole;
  }
  sums[0] = static_cast<double>(horizontal_sum<T>(parameter_squares));
  sums[1] = static_cast<double>(horizontal_sum<T>(direction_squares));
}

template <class T>
void lamb_apply(T* parameters, const T* direction, T rate, std::size_t n, const UpdateTerms<T>& terms) {
  const UpdateTerms<T> t = terms;
  for_packs<T, 4>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const auto p = load_some<T, U>(parameters + i, m) * t.shrink - load_some<T, U>(direction + i, m) * rate;
    store_some<T, U>(parameters + i, soft_threshold<T, U>(p, t.threshold), m);
  });
}

template <class T>
constexpr AdamKernels<T> table{adam<T>, adam_rows<T>, lamb_direction<T>, lamb_apply<T>};

}  // namespace

template <>
const AdamKernels<float>& kernels() {
  return table<float>;
}
template <>
const AdamKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
