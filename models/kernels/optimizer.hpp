#pragma once

#include <cstddef>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Stochastic gradient descent. The gradient is scaled first (as clipping by norm asks), then decayed.
template <class T>
struct SgdStep {
  T rate;
  T momentum = 0;
  T dampening = 0;
  T weight_decay = 0;
  T gradient_scale = 1;
  bool nesterov = false;
  bool first = false;  ///< velocity holds nothing yet and becomes the gradient
};

/// Adam (Kingma and Ba, 2015). Weight decay is added to the gradient, or taken off the parameters where `decoupled`
/// (AdamW: Loshchilov and Hutter, 2019).
template <class T>
struct AdamStep {
  T rate;
  T beta1;
  T beta2;
  T epsilon;
  T weight_decay = 0;
  T gradient_scale = 1;
  T correction1;  ///< 1 - beta1^t
  T correction2;  ///< 1 - beta2^t
  bool decoupled = false;
};

/// Updates of n parameters in one pass over memory.
template <class T>
struct OptimizerKernels {
  /// `velocity` may be null without momentum.
  void (*sgd)(T* parameters, const T* gradient, T* velocity, std::size_t n, const SgdStep<T>& step);
  void (*adam)(T* parameters, const T* gradient, T* mean, T* variance, std::size_t n, const AdamStep<T>& step);
};

}  // namespace tapestry::detail
