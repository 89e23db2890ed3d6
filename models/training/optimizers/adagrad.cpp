#include <tapestry/models/training/optimizers/adagrad.hpp>

namespace tapestry {

template <class T>
Adagrad<T>::Adagrad(const ParameterGroups<T>& parameters, const AdagradOptions& options)
    : Optimizer<T>(parameters, {.name = "Adagrad",
                                .rate = options.rate,
                                .weight_decay = options.weight_decay,
                                .tensors = {{"squares", options.initial}}}),
      options_(options) {
  this->check(options.initial >= 0, "initial squares", options.initial);
  this->check(options.epsilon > 0, "an epsilon", options.epsilon);
}

template <class T>
void Adagrad<T>::prepare(const Step& step) {
  step_ = {static_cast<T>(step.rate), static_cast<T>(options_.epsilon)};
}

template <class T>
void Adagrad<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  detail::kernels<detail::DescentKernels<T>>().adagrad(parameter, gradient, state, n, terms, step_);
}

template class Adagrad<float>;
template class Adagrad<double>;

}  // namespace tapestry
