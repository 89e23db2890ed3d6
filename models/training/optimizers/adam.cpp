#include <tapestry/models/training/optimizers/adam.hpp>

namespace tapestry {

template <class T>
Adam<T>::Adam(const ParameterGroups<T>& parameters, const AdamOptions& options)
    : AdamFamily<T>(
          parameters,
          {.name = "Adam", .rate = options.rate, .weight_decay = options.weight_decay, .decoupled = options.decoupled},
          {options.beta1, options.beta2, options.epsilon}, options.amsgrad) {}

template <class T>
void Adam<T>::prepare(const typename Optimizer<T>::Step& step) {
  this->step_.mean_rate = static_cast<T>(step.rate / this->correction1(step));
  this->step_.root = static_cast<T>(1 / this->correction2(step));
}

template class Adam<float>;
template class Adam<double>;

}  // namespace tapestry
