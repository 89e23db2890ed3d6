#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <tapestry/autodiff/kernels/elementwise_loops.hpp>
#include <tapestry/models/kernels/optimizer.hpp>

// What the updates share. For kernel files only.
namespace tapestry::detail::TAPESTRY_ARCH {

/// x * y + z. Of two products that are added, which one a compiler rounds depends on what is around them: loops that
/// are to give the same numbers must not leave it the choice.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> multiply_add(const Pack<T, U>& x, T y, const Pack<T, U>& z) {
#if defined(__AVX512F__)
  Pack<T, U> out;
  for (int u = 0; u < U; ++u)
    if constexpr (sizeof(T) == 4)
      out.v[u] = (Vec<T>)_mm512_fmadd_ps((__m512)x.v[u], (__m512)splat<T>(y), (__m512)z.v[u]);
    else
      out.v[u] = (Vec<T>)_mm512_fmadd_pd((__m512d)x.v[u], (__m512d)splat<T>(y), (__m512d)z.v[u]);
  return out;
#elif defined(__FMA__)
  Pack<T, U> out;
  for (int u = 0; u < U; ++u)
    if constexpr (sizeof(T) == 4)
      out.v[u] = (Vec<T>)_mm256_fmadd_ps((__m256)x.v[u], (__m256)splat<T>(y), (__m256)z.v[u]);
    else
      out.v[u] = (Vec<T>)_mm256_fmadd_pd((__m256d)x.v[u], (__m256d)splat<T>(y), (__m256d)z.v[u]);
  return out;
#else
  return x * y + z;
#endif
}

/// While it lives, numbers below the smallest normal one are taken as 0, where the processor can and it is `wanted`.
/// Means of gradients that stay zero end there, where arithmetic is several times slower.
class SubnormalsAreZero {
 public:
#if defined(__SSE2__)
  explicit SubnormalsAreZero(bool wanted) : before_(_mm_getcsr()) {
    constexpr unsigned inputs = 0x40, results = 0x8000;
    if (wanted) _mm_setcsr(before_ | inputs | results);
  }
  ~SubnormalsAreZero() {
    _mm_setcsr(before_);
  }

 private:
  unsigned before_;
#else
  explicit SubnormalsAreZero(bool) {}
#endif
};

/// The gradient that a rule sees. NaN stays NaN.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> effective_gradient(const Pack<T, U>& gradient, const Pack<T, U>& p,
                                              const UpdateTerms<T>& t) {
  const Pack<T, U> scaled = gradient * t.gradient_scale;
  return less_or_second(t.gradient_limit, greater_or_second(-t.gradient_limit, scaled)) + p * t.l2;
}

/// x moved towards 0 by the threshold, and exactly 0 within it. NaN stays NaN.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> soft_threshold(const Pack<T, U>& x, T threshold) {
  return x - less_or_second(threshold, greater_or_second(-threshold, x));
}

/// One pass: `rule(p, g, i, m, width)` gives the step that is taken off the parameters.
template <class T, class Rule>
TAPESTRY_INLINE void update_loop(T* parameters, const T* gradient, std::size_t n, const UpdateTerms<T>& terms,
                                 Rule rule) {
  const UpdateTerms<T> t = terms;
  for_packs<T, 2>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const Pack<T, U> p = load_some<T, U>(parameters + i, m);
    const Pack<T, U> g = effective_gradient<T, U>(load_some<T, U>(gradient + i, m), p, t);
    const Pack<T, U> step = rule(p, g, i, m, width);
    store_some<T, U>(parameters + i, soft_threshold<T, U>(p * t.shrink - step, t.threshold), m);
  });
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
