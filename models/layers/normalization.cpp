#include <tapestry/models/layers/normalization.hpp>

#include <algorithm>

#include <tapestry/autodiff/ops/normalization.hpp>

namespace tapestry {

template <class T>
LayerNorm<T>::LayerNorm(const Shape& axes, double width)
    : weight(Var<T>::filled(axes, 1, true)), bias(Var<T>::filled(axes, 0, true)), epsilon(width) {}

template <class T>
Var<T> LayerNorm<T>::forward(const Var<T>& x) const {
  return layer_norm(x, weight, bias, static_cast<T>(epsilon));
}

template <class T>
BatchNorm<T>::BatchNorm(std::int64_t channels, double share, double width)
    : weight(Var<T>::filled({channels}, 1, true)),
      bias(Var<T>::filled({channels}, 0, true)),
      running_mean{Var<T>::zeros({channels}).tensor()},
      running_variance{Var<T>::ones({channels}).tensor()},
      momentum(share),
      epsilon(width) {}

template <class T>
Var<T> BatchNorm<T>::forward(const Var<T>& x) const {
  const T width = static_cast<T>(epsilon);
  if (!mode.training)
    return batch_norm_with(x, Var<T>(running_mean.value), Var<T>(running_variance.value), weight, bias, width);
  const BatchNormResult<T> result = batch_norm(x, weight, bias, width);
  const std::int64_t channels = weight.size(), n = x.size() / std::max<std::int64_t>(channels, 1);
  const T share = static_cast<T>(momentum);
  const T unbiased = static_cast<T>(n) / static_cast<T>(std::max<std::int64_t>(n - 1, 1));
  T *mean = running_mean.value.data(), *variance = running_variance.value.data();
  for (std::int64_t c = 0; c < channels; ++c) {
    mean[c] += share * (result.mean.data()[c] - mean[c]);
    variance[c] += share * (unbiased * result.variance.data()[c] - variance[c]);
  }
  return result.value;
}

template struct LayerNorm<float>;
template struct LayerNorm<double>;
template struct BatchNorm<float>;
template struct BatchNorm<double>;

}  // namespace tapestry
