#include <tapestry/models/training/optimizers/lamb.hpp>

#include <cmath>
#include <vector>

#include <tapestry/autodiff/threads.hpp>

namespace tapestry {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 32768;

}  // namespace

template <class T>
Lamb<T>::Lamb(const ParameterGroups<T>& parameters, const LambOptions& options)
    : AdamFamily<T>(parameters, {.name = "Lamb", .rate = options.rate, .weight_decay = options.weight_decay},
                    {options.beta1, options.beta2, options.epsilon}),
      lamb_{this->step_} {}

template <class T>
void Lamb<T>::prepare(const Step& step) {
  rate_ = step.rate;
  lamb_.mean_scale = static_cast<T>(1 / this->correction1(step));
  lamb_.root = static_cast<T>(1 / this->correction2(step));
  lamb_.weight_decay = static_cast<T>(step.weight_decay);
}

template <class T>
void Lamb<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  update_all(parameter, gradient, state, static_cast<std::int64_t>(n), terms);
}

template <class T>
void Lamb<T>::update_all(T* parameter, const T* gradient, T* const* state, std::int64_t n, const Terms& terms) const {
  // The decay is a part of the direction, not of the gradient.
  Terms own = terms;
  own.l2 = 0;
  const auto& kernels = detail::kernels<detail::AdamKernels<T>>();
  const detail::Scratch<T> direction(static_cast<std::size_t>(n));
  std::vector<double> sums(2 * static_cast<std::size_t>((n + grain - 1) / grain), 0.0);
  detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
    T* const part[] = {state[0] + begin, state[1] + begin};
    kernels.lamb_direction(parameter + begin, gradient + begin, part, direction.data() + begin,
                           static_cast<std::size_t>(end - begin), own, lamb_,
                           sums.data() + 2 * static_cast<std::size_t>(chunk));
  });
  double parameter_squares = 0, direction_squares = 0;
  for (std::size_t k = 0; k < sums.size(); k += 2) parameter_squares += sums[k], direction_squares += sums[k + 1];
  const bool both = parameter_squares > 0 && direction_squares > 0;
  const double trust = both ? std::sqrt(parameter_squares / direction_squares) : 1;
  const T rate = static_cast<T>(rate_ * trust);
  detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    kernels.lamb_apply(parameter + begin, direction.data() + begin, rate, static_cast<std::size_t>(end - begin), own);
  });
}

template class Lamb<float>;
template class Lamb<double>;

}  // namespace tapestry
