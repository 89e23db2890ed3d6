#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// (x - mean) / sqrt(variance + epsilon) weight + bias, with the mean and variance (divided by their number) over the
/// trailing axes that weight and bias have (Ba, Kiros and Hinton 2016).
/// @throws ShapeError where the shapes of weight and bias are not x's last axes, or have no elements
template <class T>
Var<T> layer_norm(const Var<T>& x, const Var<T>& weight, const Var<T>& bias, std::type_identity_t<T> epsilon = T(1e-5));

/// The normalised batch, and its statistics by channel (the variance divided by their number): differentiable, too;
/// detach them for running averages.
template <class T>
struct BatchNormResult {
  Var<T> value;
  Var<T> mean;
  Var<T> variance;
};

/// (x - mean) / sqrt(variance + epsilon) weight + bias, with the mean and variance of each channel (axis 1 of x) over
/// all other axes (Ioffe and Szegedy 2015).
/// @throws ShapeError unless weight and bias are [channels], and where there is nothing to average
template <class T>
BatchNormResult<T> batch_norm(const Var<T>& x, const Var<T>& weight, const Var<T>& bias,
                              std::type_identity_t<T> epsilon = T(1e-5));

/// Running averages of the statistics: mean and variance [channels] go the part `momentum` of the way to the batch's,
/// whose variance is divided by its number less one (by one where there is one), as an estimate for the population.
/// @throws ShapeError where the shapes differ, NumericalError unless momentum is within 0 and 1
template <class T>
void update_running_statistics(Tensor<T>& mean, Tensor<T>& variance, const BatchNormResult<T>& batch,
                               std::type_identity_t<T> momentum = T(0.1));

/// Batch normalisation with given statistics [channels]: for evaluation.
template <class T>
Var<T> batch_norm_with(const Var<T>& x, const Var<T>& mean, const Var<T>& variance, const Var<T>& weight,
                       const Var<T>& bias, std::type_identity_t<T> epsilon = T(1e-5));

}  // namespace tapestry
