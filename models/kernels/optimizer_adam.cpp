#include <tapestry/models/kernels/optimizer_loop.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void adam(T* parameters, const T* gradient, T* const* state, std::size_t n, const UpdateTerms<T>& terms,
          const AdamStep<T>& step) {
  const AdamStep<T> s = step;
  T *const mean = state[0], *const variance = state[1];
  T* const largest = s.keep_largest ? state[2] : nullptr;
  update_loop(parameters, gradient, n, terms,
              [=](const auto&, const auto& g, std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
                constexpr int U = decltype(width)::value;
                const auto first = load_some<T, U>(mean + i, m) * s.beta1 + g * s.fresh1;
                auto second = load_some<T, U>(variance + i, m) * s.beta2 + (g * g) * s.fresh2;
                store_some<T, U>(mean + i, first, m);
                store_some<T, U>(variance + i, second, m);
                if (largest != nullptr) {
                  const auto before = load_some<T, U>(largest + i, m);
                  second = select(before > second, before, second);
                  store_some<T, U>(largest + i, second, m);
                }
                const auto direction = first * s.mean_rate + g * s.gradient_rate;
                return s.adaptive ? direction / (vsqrt(second * s.root) + s.epsilon) : direction;
              });
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
    const auto g = effective_gradient<T, 1>(gradient + i, p, m, t);
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
constexpr AdamKernels<T> table{adam<T>, lamb_direction<T>, lamb_apply<T>};

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
