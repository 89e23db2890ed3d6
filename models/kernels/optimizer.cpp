#include <tapestry/models/kernels/optimizer.hpp>

#include <tapestry/autodiff/kernels/elementwise_loops.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void sgd(T* parameters, const T* gradient, T* velocity, std::size_t n, const SgdStep<T>& step) {
  const SgdStep<T> s = step;
  if (s.momentum == T(0)) {
    for_packs<T, 4>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
      constexpr int U = decltype(width)::value;
      const Pack<T, U> p = load_some<T, U>(parameters + i, m);
      const Pack<T, U> g = load_some<T, U>(gradient + i, m) * s.gradient_scale + p * s.weight_decay;
      store_some<T, U>(parameters + i, p - g * s.rate, m);
    });
    return;
  }
  // The first velocity is the gradient, whatever the memory held.
  const T fresh = s.first ? T(1) : T(1) - s.dampening;
  for_packs<T, 4>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const Pack<T, U> p = load_some<T, U>(parameters + i, m);
    const Pack<T, U> g = load_some<T, U>(gradient + i, m) * s.gradient_scale + p * s.weight_decay;
    Pack<T, U> v = g * fresh;
    if (!s.first) v = load_some<T, U>(velocity + i, m) * s.momentum + v;
    store_some<T, U>(velocity + i, v, m);
    store_some<T, U>(parameters + i, p - (s.nesterov ? g + v * s.momentum : v) * s.rate, m);
  });
}

template <class T>
void adam(T* parameters, const T* gradient, T* mean, T* variance, std::size_t n, const AdamStep<T>& step) {
  const AdamStep<T> s = step;
  const T shrink = s.decoupled ? T(1) - s.rate * s.weight_decay : T(1), decay = s.decoupled ? T(0) : s.weight_decay;
  const T rate = s.rate / s.correction1, root = T(1) / s.correction2;
  for_packs<T, 4>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const Pack<T, U> p = load_some<T, U>(parameters + i, m);
    const Pack<T, U> g = load_some<T, U>(gradient + i, m) * s.gradient_scale + p * decay;
    const Pack<T, U> first = load_some<T, U>(mean + i, m) * s.beta1 + g * (T(1) - s.beta1);
    const Pack<T, U> second = load_some<T, U>(variance + i, m) * s.beta2 + (g * g) * (T(1) - s.beta2);
    store_some<T, U>(mean + i, first, m);
    store_some<T, U>(variance + i, second, m);
    store_some<T, U>(parameters + i, p * shrink - (first * rate) / (vsqrt(second * root) + s.epsilon), m);
  });
}

template <class T>
constexpr OptimizerKernels<T> table{sgd<T>, adam<T>};

}  // namespace

template <>
const OptimizerKernels<float>& kernels() {
  return table<float>;
}
template <>
const OptimizerKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
