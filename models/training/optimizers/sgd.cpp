#include <tapestry/models/training/optimizers/sgd.hpp>

namespace tapestry {
namespace {

std::vector<OptimizerTensor> tensors(const SgdOptions& options) {
  if (options.momentum != 0) return {{"velocity"}};
  return {};
}

}  // namespace

template <class T>
Sgd<T>::Sgd(const ParameterGroups<T>& parameters, const SgdOptions& options)
    : Optimizer<T>(
          parameters,
          {.name = "Sgd", .rate = options.rate, .weight_decay = options.weight_decay, .tensors = tensors(options)}),
      options_(options) {
  this->check(options.momentum >= 0 && options.momentum < 1, "a momentum", options.momentum);
  this->check(options.dampening >= 0 && options.dampening < 1, "a dampening", options.dampening);
  this->check(!options.nesterov || (options.momentum > 0 && options.dampening == 0),
              "Nesterov's step without momentum or with a dampening", options.dampening);
}

template <class T>
void Sgd<T>::prepare(const Step& step) {
  step_ = {static_cast<T>(step.rate), static_cast<T>(options_.momentum), static_cast<T>(1 - options_.dampening),
           options_.nesterov};
}

template <class T>
void Sgd<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  detail::kernels<detail::DescentKernels<T>>().sgd(parameter, gradient, state, n, terms, step_);
}

template class Sgd<float>;
template class Sgd<double>;

}  // namespace tapestry
