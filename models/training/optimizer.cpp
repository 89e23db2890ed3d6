#include <tapestry/models/training/optimizer.hpp>

#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/models/kernels/optimizer.hpp>

namespace tapestry {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 32768;

void check(const char* operation, bool good, const char* what, double value) {
  if (!good) fail(operation, what, " of ", value);
}

}  // namespace

template <class T>
Optimizer<T>::Optimizer(std::vector<Var<T>> parameters, double rate, int buffers) : parameters_(std::move(parameters)) {
  set_rate(rate);
  for (const Var<T>& parameter : parameters_) {
    if (!parameter.leaf())
      fail<GraphError>("optimizer", "a parameter of shape ", parameter.shape(), " is the result of an operation");
    std::vector<Tensor<T>> zeros;
    for (int k = 0; k < buffers; ++k) zeros.emplace_back(detail::xtensor_shape(parameter.shape()), T(0));
    buffers_.push_back(std::move(zeros));
  }
}

template <class T>
void Optimizer<T>::set_rate(double rate) {
  check("optimizer", std::isfinite(rate) && rate >= 0, "rate", rate);
  rate_ = rate;
}

template <class T>
void Optimizer<T>::step() {
  ++steps_;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Var<T>& parameter = parameters_[i];
    if (!parameter.has_gradient()) continue;
    const auto gradient = parameter.gradient();
    update(i, parameter.mutable_data(), gradient.data(), parameter.size());
  }
}

template <class T>
void Optimizer<T>::zero_gradients() {
  for (Var<T>& parameter : parameters_) parameter.zero_gradient();
}

template <class T>
Sgd<T>::Sgd(std::vector<Var<T>> parameters, SgdOptions options)
    : Optimizer<T>(std::move(parameters), options.rate, options.momentum != 0 ? 1 : 0), options_(options) {
  check("Sgd", options.momentum >= 0 && options.momentum < 1, "momentum", options.momentum);
  check("Sgd", options.weight_decay >= 0, "weight decay", options.weight_decay);
  check("Sgd", !options.nesterov || options.momentum > 0, "Nesterov's step with a momentum", options.momentum);
}

template <class T>
void Sgd<T>::update(std::size_t i, T* parameter, const T* gradient, std::int64_t n) {
  detail::SgdStep<T> step{.rate = static_cast<T>(this->rate())};
  step.momentum = static_cast<T>(options_.momentum);
  step.weight_decay = static_cast<T>(options_.weight_decay);
  step.nesterov = options_.nesterov;
  T* velocity = options_.momentum != 0 ? this->buffer(i, 0) : nullptr;
  const auto kernel = detail::kernels<detail::OptimizerKernels<T>>().sgd;
  detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    kernel(parameter + begin, gradient + begin, velocity == nullptr ? nullptr : velocity + begin,
           static_cast<std::size_t>(end - begin), step);
  });
}

template <class T>
Adam<T>::Adam(std::vector<Var<T>> parameters, AdamOptions options)
    : Optimizer<T>(std::move(parameters), options.rate, 2), options_(options) {
  check("Adam", options.beta1 >= 0 && options.beta1 < 1, "beta1", options.beta1);
  check("Adam", options.beta2 >= 0 && options.beta2 < 1, "beta2", options.beta2);
  check("Adam", options.epsilon > 0, "epsilon", options.epsilon);
  check("Adam", options.weight_decay >= 0, "weight decay", options.weight_decay);
}

template <class T>
void Adam<T>::update(std::size_t i, T* parameter, const T* gradient, std::int64_t n) {
  const double t = static_cast<double>(this->steps());
  detail::AdamStep<T> step{.rate = static_cast<T>(this->rate()),
                           .beta1 = static_cast<T>(options_.beta1),
                           .beta2 = static_cast<T>(options_.beta2),
                           .epsilon = static_cast<T>(options_.epsilon),
                           .weight_decay = static_cast<T>(options_.weight_decay),
                           .correction1 = static_cast<T>(1 - std::pow(options_.beta1, t)),
                           .correction2 = static_cast<T>(1 - std::pow(options_.beta2, t)),
                           .decoupled = options_.decoupled};
  T* mean = this->buffer(i, 0);
  T* variance = this->buffer(i, 1);
  const auto kernel = detail::kernels<detail::OptimizerKernels<T>>().adam;
  detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    kernel(parameter + begin, gradient + begin, mean + begin, variance + begin, static_cast<std::size_t>(end - begin),
           step);
  });
}

template class Optimizer<float>;
template class Optimizer<double>;
template class Sgd<float>;
template class Sgd<double>;
template class Adam<float>;
template class Adam<double>;

}  // namespace tapestry
