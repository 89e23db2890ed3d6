#include <tapestry/models/training/optimizers/adadelta.hpp>

namespace tapestry {

template <class T>
Adadelta<T>::Adadelta(const ParameterGroups<T>& parameters, const AdadeltaOptions& options)
    : Optimizer<T>(parameters, {.name = "Adadelta",
                                .rate = options.rate,
                                .weight_decay = options.weight_decay,
                                .tensors = {{"squares"}, {"changes"}}}),
      options_(options) {
  this->check(options.decay >= 0 && options.decay < 1, "a decay", options.decay);
  this->check(options.epsilon > 0, "an epsilon", options.epsilon);
}

template <class T>
void Adadelta<T>::prepare(const Step& step) {
  step_ = {static_cast<T>(step.rate), static_cast<T>(options_.decay), static_cast<T>(1 - options_.decay),
           static_cast<T>(options_.epsilon)};
}

template <class T>
void Adadelta<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  detail::kernels<detail::DescentKernels<T>>().adadelta(parameter, gradient, state, n, terms, step_);
}

template class Adadelta<float>;
template class Adadelta<double>;

}  // namespace tapestry
