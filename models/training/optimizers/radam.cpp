#include <tapestry/models/training/optimizers/radam.hpp>

#include <cmath>

namespace tapestry {

template <class T>
RAdam<T>::RAdam(const ParameterGroups<T>& parameters, const RAdamOptions& options)
    : Optimizer<T>(parameters, {.name = "RAdam",
                                .rate = options.rate,
                                .weight_decay = options.weight_decay,
                                .decoupled = options.decoupled,
                                .tensors = {{"mean"}, {"variance"}}}),
      options_(options) {
  this->check(options.beta1 >= 0 && options.beta1 < 1, "a beta1", options.beta1);
  this->check(options.beta2 >= 0 && options.beta2 < 1, "a beta2", options.beta2);
  this->check(options.epsilon > 0, "an epsilon", options.epsilon);
}

template <class T>
void RAdam<T>::prepare(const Step& step) {
  const double t = static_cast<double>(step.count);
  const double power = std::pow(options_.beta2, t);
  const double longest = 2 / (1 - options_.beta2) - 1, length = longest - 2 * t * power / (1 - power);
  const bool adaptive = length > 4;
  const double rectification =
      adaptive ? std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) : 1;
  step_ = {.beta1 = static_cast<T>(options_.beta1),
           .beta2 = static_cast<T>(options_.beta2),
           .fresh1 = static_cast<T>(1 - options_.beta1),
           .fresh2 = static_cast<T>(1 - options_.beta2),
           .epsilon = static_cast<T>(options_.epsilon),
           .mean_rate = static_cast<T>(step.rate * rectification / (1 - std::pow(options_.beta1, t))),
           .gradient_rate = 0,
           .root = static_cast<T>(1 / (1 - power)),
           .adaptive = adaptive};
}

template <class T>
void RAdam<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  detail::kernels<detail::AdamKernels<T>>().adam(parameter, gradient, state, n, terms, step_);
}

template class RAdam<float>;
template class RAdam<double>;

}  // namespace tapestry
