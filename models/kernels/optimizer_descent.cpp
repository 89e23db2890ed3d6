#include <tapestry/models/kernels/optimizer_loop.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void sgd(T* parameters, const T* gradient, T* const* state, std::size_t n, const UpdateTerms<T>& terms,
         const SgdStep<T>& step) {
  const SgdStep<T> s = step;
  if (s.momentum == T(0)) {
    update_loop(parameters, gradient, n, terms,
                [=](const auto&, const auto& g, std::size_t, std::size_t, auto)
                    TAPESTRY_ALWAYS_INLINE { return g * s.rate; });
    return;
  }
  T* const velocity = state[0];
  update_loop(parameters, gradient, n, terms,
              [=](const auto&, const auto& g, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
                constexpr int U = decltype(width)::value;
                const auto v = load_some<T, U>(velocity + i, m) * s.momentum + g * s.fresh;
                store_some<T, U>(velocity + i, v, m);
                return (s.nesterov ? g + v * s.momentum : v) * s.rate;
              });
}

template <class T>
void adagrad(T* parameters, const T* gradient, T* const* state, std::size_t n, const UpdateTerms<T>& terms,
             const AdagradStep<T>& step) {
  const AdagradStep<T> s = step;
  T* const squares = state[0];
  update_loop(parameters, gradient, n, terms,
              [=](const auto&, const auto& g, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
                constexpr int U = decltype(width)::value;
                const auto sum = load_some<T, U>(squares + i, m) + g * g;
                store_some<T, U>(squares + i, sum, m);
                return g * s.rate / (vsqrt(sum) + s.epsilon);
              });
}

template <class T>
void adadelta(T* parameters, const T* gradient, T* const* state, std::size_t n, const UpdateTerms<T>& terms,
              const AdadeltaStep<T>& step) {
  const AdadeltaStep<T> s = step;
  T *const squares = state[0], *const changes = state[1];
  update_loop(parameters, gradient, n, terms,
              [=](const auto&, const auto& g, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
                constexpr int U = decltype(width)::value;
                const auto square = load_some<T, U>(squares + i, m) * s.decay + (g * g) * s.fresh;
                const auto before = load_some<T, U>(changes + i, m);
                const auto change = vsqrt(before + s.epsilon) / vsqrt(square + s.epsilon) * g;
                store_some<T, U>(squares + i, square, m);
                store_some<T, U>(changes + i, before * s.decay + (change * change) * s.fresh, m);
                return change * s.rate;
              });
}

template <class T>
void rmsprop(T* parameters, const T* gradient, T* const* state, std::size_t n, const UpdateTerms<T>& terms,
             const RmspropStep<T>& step) {
  const RmspropStep<T> s = step;
  T* const squares = state[0];
  T* const mean = s.centered ? state[1] : nullptr;
  T* const velocity = s.momentum != T(0) ? state[s.centered ? 2 : 1] : nullptr;
  update_loop(parameters, gradient, n, terms,
              [=](const auto&, const auto& g, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
                constexpr int U = decltype(width)::value;
                auto variance = load_some<T, U>(squares + i, m) * s.decay + (g * g) * s.fresh;
                store_some<T, U>(squares + i, variance, m);
                if (mean != nullptr) {
                  const auto first = load_some<T, U>(mean + i, m) * s.decay + g * s.fresh;
                  store_some<T, U>(mean + i, first, m);
                  // Rounding must not make the variance negative.
                  variance = greater_or_second(T(0), variance - first * first);
                }
                const auto direction = g / (vsqrt(variance) + s.epsilon);
                if (velocity == nullptr) return direction * s.rate;
                const auto v = load_some<T, U>(velocity + i, m) * s.momentum + direction;
                store_some<T, U>(velocity + i, v, m);
                return v * s.rate;
              });
}

template <class T>
void rprop(T* parameters, const T* gradient, T* const* state, std::size_t n, const UpdateTerms<T>& terms,
           const RpropStep<T>& step) {
  const RpropStep<T> s = step;
  T *const previous = state[0], *const sizes = state[1];
  update_loop(parameters, gradient, n, terms,
              [=](const auto&, const auto& g, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
                constexpr int U = decltype(width)::value;
                // Signs first: the product of two small gradients may vanish.
                const auto sign = select(g > T(0), T(1), select(g < T(0), T(-1), g));
                const auto agreement = sign * load_some<T, U>(previous + i, m);
                auto size = load_some<T, U>(sizes + i, m);
                size = size * select(agreement > T(0), s.increase, select(agreement < T(0), s.decrease, like(g, T(1))));
                size = less_or_second(s.largest, greater_or_second(s.smallest, size));
                const auto used = select(agreement < T(0), T(0), sign);
                store_some<T, U>(previous + i, used, m);
                store_some<T, U>(sizes + i, size, m);
                return used * size * s.rate;
              });
}

template <class T>
constexpr DescentKernels<T> table{sgd<T>, adagrad<T>, adadelta<T>, rmsprop<T>, rprop<T>};

}  // namespace

template <>
const DescentKernels<float>& kernels() {
  return table<float>;
}
template <>
const DescentKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
