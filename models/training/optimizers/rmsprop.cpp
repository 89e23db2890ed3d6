#include <tapestry/models/training/optimizers/rmsprop.hpp>

namespace tapestry {
namespace {

std::vector<OptimizerTensor> tensors(const RmspropOptions& options) {
  std::vector<OptimizerTensor> names{{"squares"}};
  if (options.centered) names.push_back({"mean"});
  if (options.momentum != 0) names.push_back({"velocity"});
  return names;
}

}  // namespace

template <class T>
Rmsprop<T>::Rmsprop(const ParameterGroups<T>& parameters, const RmspropOptions& options)
    : Optimizer<T>(
          parameters,
          {.name = "Rmsprop", .rate = options.rate, .weight_decay = options.weight_decay, .tensors = tensors(options)}),
      options_(options) {
  this->check(options.decay >= 0 && options.decay < 1, "a decay", options.decay);
  this->check(options.epsilon > 0, "an epsilon", options.epsilon);
  this->check(options.momentum >= 0 && options.momentum < 1, "a momentum", options.momentum);
}

template <class T>
void Rmsprop<T>::prepare(const Step& step) {
  step_ = {static_cast<T>(step.rate),        static_cast<T>(options_.decay),    static_cast<T>(1 - options_.decay),
           static_cast<T>(options_.epsilon), static_cast<T>(options_.momentum), options_.centered};
}

template <class T>
void Rmsprop<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  detail::kernels<detail::DescentKernels<T>>().rmsprop(parameter, gradient, state, n, terms, step_);
}

template class Rmsprop<float>;
template class Rmsprop<double>;

}  // namespace tapestry
