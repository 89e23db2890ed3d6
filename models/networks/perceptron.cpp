#include <tapestry/models/networks/perceptron.hpp>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry {
namespace {

template <class T>
void check(const Var<T>& x, const Var<T>& targets, const Var<T>& weight) {
  if (x.rank() != 2 || x.extent(1) != weight.size() || targets.shape() != Shape{x.extent(0)})
    fail<ShapeError>("Perceptron", "examples ", x.shape(), " and targets ", targets.shape(), " for ", weight.size(),
                     " inputs");
  for (std::int64_t i = 0; i < targets.size(); ++i)
    if (targets.data()[i] != 1 && targets.data()[i] != -1)
      fail<NumericalError>("Perceptron", "target ", i, " is ", targets.data()[i], ", neither 1 nor -1");
}

}  // namespace

template <class T>
Perceptron<T>::Perceptron(std::int64_t in)
    : weight(Var<T>::filled({in}, 0, true)), bias(Var<T>::filled({1}, 0, true)) {}

template <class T>
Var<T> Perceptron<T>::forward(const Var<T>& x) const {
  return matmul(x, weight) + bias;
}

template <class T>
Var<T> Perceptron<T>::criterion(const Var<T>& x, const Var<T>& targets) const {
  check(x, targets, weight);
  const Var<T> margin = targets * forward(x);
  return sum(where(less_equal(margin, Var<T>(T(0))), -margin, Var<T>::zeros(margin.shape())));
}

template <class T>
std::int64_t Perceptron<T>::mistakes(const Var<T>& x, const Var<T>& targets) const {
  check(x, targets, weight);
  const NoGradients scope;
  const Var<T> margin = targets * forward(x);
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < margin.size(); ++i) wrong += !(margin.data()[i] > 0);
  return wrong;
}

template <class T>
std::int64_t Perceptron<T>::batch_update(const Var<T>& x, const Var<T>& targets, double rate) {
  const std::int64_t wrong = mistakes(x, targets);
  weight.zero_gradient();
  bias.zero_gradient();
  criterion(x, targets).backward();
  for (Var<T>* parameter : {&weight, &bias}) {
    parameter->mutable_value() -= static_cast<T>(rate) * parameter->gradient();
    parameter->zero_gradient();
  }
  return wrong;
}

template <class T>
std::int64_t Perceptron<T>::incremental_update(const Var<T>& x, const Var<T>& targets, Generator& generator,
                                               double rate) {
  check(x, targets, weight);
  const std::int64_t n = x.extent(0), in = weight.size();
  const IndexTensor order = generator.permutation(n);
  T* const w = weight.mutable_data();
  T* const b = bias.mutable_data();
  std::int64_t wrong = 0;
  for (const std::int64_t i : order) {
    const T* const example = x.data() + i * in;
    const T target = targets.data()[i];
    T sum_of_products = *b;
    for (std::int64_t k = 0; k < in; ++k) sum_of_products += w[k] * example[k];
    if (target * sum_of_products > 0) continue;
    // The criterion's gradient at one mistake is -target x.
    const T step = static_cast<T>(rate) * target;
    for (std::int64_t k = 0; k < in; ++k) w[k] += step * example[k];
    *b += step;
    ++wrong;
  }
  return wrong;
}

template class Perceptron<float>;
template class Perceptron<double>;

}  // namespace tapestry
