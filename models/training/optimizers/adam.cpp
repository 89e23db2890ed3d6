#include <tapestry/models/training/optimizers/adam.hpp>

#include <cmath>

namespace tapestry {
namespace {

std::vector<OptimizerTensor> tensors(const AdamOptions& options) {
  if (options.amsgrad) return {{"mean"}, {"variance"}, {"largest"}};
  return {{"mean"}, {"variance"}};
}

}  // namespace

template <class T>
Adam<T>::Adam(const ParameterGroups<T>& parameters, const AdamOptions& options)
    : Optimizer<T>(parameters, {.name = "Adam",
                                .rate = options.rate,
                                .weight_decay = options.weight_decay,
                                .decoupled = options.decoupled,
                                .tensors = tensors(options)}),
      options_(options) {
  this->check(options.beta1 >= 0 && options.beta1 < 1, "a beta1", options.beta1);
  this->check(options.beta2 >= 0 && options.beta2 < 1, "a beta2", options.beta2);
  this->check(options.epsilon > 0, "an epsilon", options.epsilon);
}

template <class T>
void Adam<T>::prepare(const Step& step) {
  const double t = static_cast<double>(step.count);
  step_ = {.beta1 = static_cast<T>(options_.beta1),
           .beta2 = static_cast<T>(options_.beta2),
           .fresh1 = static_cast<T>(1 - options_.beta1),
           .fresh2 = static_cast<T>(1 - options_.beta2),
           .epsilon = static_cast<T>(options_.epsilon),
           .mean_rate = static_cast<T>(step.rate / (1 - std::pow(options_.beta1, t))),
           .gradient_rate = 0,
           .root = static_cast<T>(1 / (1 - std::pow(options_.beta2, t))),
           .keep_largest = options_.amsgrad};
}

template <class T>
void Adam<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  detail::kernels<detail::AdamKernels<T>>().adam(parameter, gradient, state, n, terms, step_);
}

template class Adam<float>;
template class Adam<double>;

}  // namespace tapestry
