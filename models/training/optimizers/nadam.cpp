#include <tapestry/models/training/optimizers/nadam.hpp>

#include <cmath>

namespace tapestry {

template <class T>
NAdam<T>::NAdam(const ParameterGroups<T>& parameters, const NAdamOptions& options)
    : AdamFamily<T>(
          parameters,
          {.name = "NAdam", .rate = options.rate, .weight_decay = options.weight_decay, .decoupled = options.decoupled},
          {options.beta1, options.beta2, options.epsilon}),
      momentum_decay_(options.momentum_decay) {
  this->check(momentum_decay_ >= 0, "a momentum decay", momentum_decay_);
}

template <class T>
void NAdam<T>::prepare(const typename Optimizer<T>::Step& step) {
  const auto momentum = [this](std::int64_t t) {
    return this->means().beta1 * (1 - 0.5 * std::pow(0.96, static_cast<double>(t) * momentum_decay_));
  };
  // The product of the momenta so far: parameters mostly have the same count, or the one after.
  if (step.count < product_count_) product_ = 1, product_count_ = 0;
  while (product_count_ < step.count) product_ *= momentum(++product_count_);
  const double now = momentum(step.count), next = momentum(step.count + 1);
  this->step_.mean_rate = static_cast<T>(step.rate * next / (1 - product_ * next));
  this->step_.gradient_rate = static_cast<T>(step.rate * (1 - now) / (1 - product_));
  this->step_.root = static_cast<T>(1 / this->correction2(step));
}

template class NAdam<float>;
template class NAdam<double>;

}  // namespace tapestry
