#include <tapestry/models/training/optimizers/adam_family.hpp>

#include <cmath>
#include <utility>

namespace tapestry {
namespace {

template <class Setup>
Setup with_means(Setup setup, bool largest) {
  setup.tensors = {{"mean"}, {"variance"}};
  if (largest) setup.tensors.push_back({"largest"});
  return setup;
}

}  // namespace

template <class T>
AdamFamily<T>::AdamFamily(const ParameterGroups<T>& parameters, Setup setup, const Means& means, bool largest)
    : Optimizer<T>(parameters, with_means(std::move(setup), largest)), means_(means) {
  this->check(means.beta1 >= 0 && means.beta1 < 1, "a beta1", means.beta1);
  this->check(means.beta2 >= 0 && means.beta2 < 1, "a beta2", means.beta2);
  this->check(means.epsilon > 0, "an epsilon", means.epsilon);
  step_.beta1 = static_cast<T>(means.beta1);
  step_.beta2 = static_cast<T>(means.beta2);
  step_.fresh1 = static_cast<T>(1 - means.beta1);
  step_.fresh2 = static_cast<T>(1 - means.beta2);
  step_.epsilon = static_cast<T>(means.epsilon);
  step_.keep_largest = largest;
}

template <class T>
double AdamFamily<T>::correction1(const Step& step) const {
  return 1 - std::pow(means_.beta1, static_cast<double>(step.count));
}
template <class T>
double AdamFamily<T>::correction2(const Step& step) const {
  return 1 - std::pow(means_.beta2, static_cast<double>(step.count));
}

template <class T>
void AdamFamily<T>::update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const {
  detail::kernels<detail::AdamKernels<T>>().adam(parameter, gradient, state, n, terms, step_);
}

template <class T>
bool AdamFamily<T>::update_from_factors(T* parameter, T* const* state, const detail::GradientProduct<T>& gradient,
                                        std::int64_t begin, std::int64_t end, const Terms& terms) const {
  detail::kernels<detail::AdamKernels<T>>().adam_rows(parameter, state, gradient, begin, end, terms, step_);
  return true;
}

template class AdamFamily<float>;
template class AdamFamily<double>;

}  // namespace tapestry
