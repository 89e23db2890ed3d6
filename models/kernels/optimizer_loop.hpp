#pragma once

#include <tapestry/autodiff/kernels/elementwise_loops.hpp>
#include <tapestry/models/kernels/optimizer.hpp>

// What the updates share. For kernel files only.
namespace tapestry::detail::TAPESTRY_ARCH {

/// The gradient that a rule sees. NaN stays NaN.
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> effective_gradient(const T* gradient, const Pack<T, U>& p, std::size_t m,
                                              const UpdateTerms<T>& t) {
  const Pack<T, U> scaled = load_some<T, U>(gradient, m) * t.gradient_scale;
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
    const Pack<T, U> g = effective_gradient<T, U>(gradient + i, p, m, t);
    const Pack<T, U> step = rule(p, g, i, m, width);
    store_some<T, U>(parameters + i, soft_threshold<T, U>(p * t.shrink - step, t.threshold), m);
  });
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
