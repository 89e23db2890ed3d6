#include <tapestry/models/training/optimizers/rprop.hpp>

namespace tapestry {

template <class T>
Rprop<T>::Rprop(const ParameterGroups<T>& parameters, const RpropOptions& options)
    : Optimizer<T>(parameters, {.name = "Rprop",
                                .rate = options.rate,
                                .weight_decay = options.weight_decay,
                                .tensors = {{"sign"}, {"size", options.initial}}}),
      options_(options) {
  this->check(options.initial > 0, "an initial step size", options.initial);
  this->check(options.increase >= 1, "a factor to increase step sizes", options.increase);
  this->check(options.decrease > 0 && options.decrease < 1, "a factor to decrease step sizes", options.decrease);
  this->check(options.smallest >= 0 && options.smallest <= options.largest, "a smallest step size", options.smallest);
}

template <class T>
void Rprop<T>::prepare(const Step& step) {
  step_ = {static_cast<T>(step.rate), static_cast<T>(options_.increase), static_cast<T>(options_.decrease),
           static_cast<T>(options_.smallest), static_cast<T>(options_.largest)};
}

template <class T>
void Rprop<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  detail::kernels<detail::DescentKernels<T>>().rprop(parameter, gradient, state, n, terms, step_);
}

template class Rprop<float>;
template class Rprop<double>;

}  // namespace tapestry
