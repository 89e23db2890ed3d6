#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>
#include <tapestry/graph/program/gradient_product.hpp>

namespace tapestry::detail {

/// What every update does before and after its own rule, in the same pass over memory.
template <class T>
struct UpdateTerms {
  T gradient_scale = 1;  ///< the gradient is multiplied by this
  T gradient_limit;      ///< then cut to [-limit, limit] (infinity: not)
  T l2 = 0;              ///< then l2 times the parameter is added
  T shrink = 1;          ///< the parameter is multiplied by this before the step
  T threshold = 0;       ///< and moved towards 0 by this after it, where it stops
};

template <class T>
struct SgdStep {
  T rate;
  T momentum = 0;
  T fresh = 1;  ///< weight of the gradient in the velocity
  bool nesterov = false;
};

// `fresh` is 1 - decay (or beta), which float would round badly.

template <class T>
struct AdagradStep {
  T rate, epsilon;
};

template <class T>
struct AdadeltaStep {
  T rate, decay, fresh, epsilon;
};

template <class T>
struct RmspropStep {
  T rate, decay, fresh, epsilon, momentum;
  bool centered;
};

template <class T>
struct RpropStep {
  T rate, increase, decrease, smallest, largest;
};

/// Running means of the gradient and its square.
template <class T>
struct Moments {
  T beta1, beta2, fresh1, fresh2, epsilon;
};

/// The step is (mean * mean_rate + gradient * gradient_rate) / (sqrt(variance * root) + epsilon), or without the
/// denominator where not `adaptive`.
template <class T>
struct AdamStep : Moments<T> {
  T mean_rate = 0, gradient_rate = 0, root = 0;
  bool adaptive = true;
  bool keep_largest = false;  ///< the largest variance so far is used (AMSGrad)
};

template <class T>
struct LambStep : Moments<T> {
  T mean_scale = 0, root = 0, weight_decay = 0;
};

/// Updates of n parameters; state is an array for each of the method's own (mean, variance, ...), 0 at first.
template <class T, class Step>
using Update = void (*)(T* parameters, const T* gradient, T* const* state, std::size_t n, const UpdateTerms<T>& terms,
                        const Step& step);

template <class T>
struct DescentKernels {
  Update<T, SgdStep<T>> sgd;            ///< velocity, where there is momentum
  Update<T, AdagradStep<T>> adagrad;    ///< squares
  Update<T, AdadeltaStep<T>> adadelta;  ///< squares, changes
  Update<T, RmspropStep<T>> rmsprop;    ///< squares, then mean where centered, then velocity where there is momentum
  Update<T, RpropStep<T>> rprop;        ///< previous gradient, step size
};

template <class T>
struct AdamKernels {
  Update<T, AdamStep<T>> adam;  ///< mean, variance, then the largest variance where it is kept
  /// The same for the rows [begin, end) of a matrix, at which the arrays begin, and from the factors of its gradient.
  void (*adam_rows)(T* parameters, T* const* state, const GradientProduct<T>& gradient, std::int64_t begin,
                    std::int64_t end, const UpdateTerms<T>& terms, const AdamStep<T>& step);
  /// Mean and variance move on, `direction` becomes the unscaled step, and sums[0] and sums[1] the squared norms of the
  /// parameters and of it.
  void (*lamb_direction)(const T* parameters, const T* gradient, T* const* state, T* direction, std::size_t n,
                         const UpdateTerms<T>& terms, const LambStep<T>& step, double* sums);
  /// parameters -= rate * direction, and the terms after it.
  void (*lamb_apply)(T* parameters, const T* direction, T rate, std::size_t n, const UpdateTerms<T>& terms);
};

}  // namespace tapestry::detail
