#include <tapestry/models/training/optimizers/nadam.hpp>

#include <cmath>

namespace tapestry {

template <class T>
NAdam<T>::NAdam(const ParameterGroups<T>& parameters, const NAdamOptions& options)
    : Optimizer<T>(parameters, {.name = "NAdam",
                                .rate = options.rate,
                                .weight_decay = options.weight_decay,
                                .decoupled = options.decoupled,
                                .tensors = {{"mean"}, {"variance"}}}),
      options_(options) {
  this->check(options.beta1 >= 0 && options.beta1 < 1, "a beta1", options.beta1);
  this->check(options.beta2 >= 0 && options.beta2 < 1, "a beta2", options.beta2);
  this->check(options.epsilon > 0, "an epsilon", options.epsilon);
  this->check(options.momentum_decay >= 0, "a momentum decay", options.momentum_decay);
}

template <class T>
void NAdam<T>::prepare(const Step& step) {
  const auto momentum = [this](std::int64_t t) {
    return options_.beta1 * (1 - 0.5 * std::pow(0.96, static_cast<double>(t) * options_.momentum_decay));
  };
  // The product of the momenta so far: parameters mostly have the same count, or the one after.
  if (step.count < product_count_) product_ = 1, product_count_ = 0;
  while (product_count_ < step.count) product_ *= momentum(++product_count_);
  const double now = momentum(step.count), next = momentum(step.count + 1);
  step_ = {.beta1 = static_cast<T>(options_.beta1),
           .beta2 = static_cast<T>(options_.beta2),
           .fresh1 = static_cast<T>(1 - options_.beta1),
           .fresh2 = static_cast<T>(1 - options_.beta2),
           .epsilon = static_cast<T>(options_.epsilon),
           .mean_rate = static_cast<T>(step.rate * next / (1 - product_ * next)),
           .gradient_rate = static_cast<T>(step.rate * (1 - now) / (1 - product_)),
           .root = static_cast<T>(1 / (1 - std::pow(options_.beta2, static_cast<double>(step.count))))};
}

template <class T>
void NAdam<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  detail::kernels<detail::AdamKernels<T>>().adam(parameter, gradient, state, n, terms, step_);
}

template class NAdam<float>;
template class NAdam<double>;

}  // namespace tapestry
