#include <tapestry/models/training/optimizers/radam.hpp>

#include <cmath>

namespace tapestry {

template <class T>
RAdam<T>::RAdam(const ParameterGroups<T>& parameters, const RAdamOptions& options)
    : AdamFamily<T>(
          parameters,
          {.name = "RAdam", .rate = options.rate, .weight_decay = options.weight_decay, .decoupled = options.decoupled},
          {options.beta1, options.beta2, options.epsilon}) {}

template <class T>
void RAdam<T>::prepare(const typename Optimizer<T>::Step& step) {
  const double t = static_cast<double>(step.count), beta2 = this->means().beta2, correction = this->correction2(step);
  const double longest = 2 / (1 - beta2) - 1, length = longest - 2 * t * std::pow(beta2, t) / correction;
  const bool adaptive = length > 4;
  const double rectification =
      adaptive ? std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) : 1;
  this->step_.mean_rate = static_cast<T>(step.rate * rectification / this->correction1(step));
  this->step_.root = static_cast<T>(1 / correction);
  this->step_.adaptive = adaptive;
}

template class RAdam<float>;
template class RAdam<double>;

}  // namespace tapestry
