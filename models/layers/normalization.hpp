#pragma once

#include <tapestry/autodiff/variable.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry {

/// layer_norm() over trailing axes, with its scale and shift.
template <class T>
struct LayerNorm {
  LayerNorm() = default;
  explicit LayerNorm(const Shape& axes, double epsilon = 1e-5);
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) { m("weight", weight)("bias", bias); }

  Var<T> weight, bias;
  double epsilon = 1e-5;
};

/// batch_norm() by channel (axis 1), with its scale and shift. Training normalises by the batch and moves running
/// averages towards the batch's statistics; evaluation normalises by these.
template <class T>
struct BatchNorm {
  BatchNorm() = default;
  explicit BatchNorm(std::int64_t channels, double momentum = 0.1, double epsilon = 1e-5);
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) {
    m("weight", weight)("bias", bias)("running_mean", running_mean)("running_variance", running_variance)("mode", mode);
  }

  Var<T> weight, bias;
  mutable Buffer<T> running_mean, running_variance;  ///< [channels]; the variance without bias
  double momentum = 0.1;                             ///< the share of the newest batch
  double epsilon = 1e-5;
  Mode mode;
};

extern template struct LayerNorm<float>;
extern template struct LayerNorm<double>;
extern template struct BatchNorm<float>;
extern template struct BatchNorm<double>;

}  // namespace tapestry
