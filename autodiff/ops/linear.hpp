#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// What linear() does to its sum.
enum class Activation { none, relu, sigmoid, tanh, softplus };

/// activation(x W + b) in one operation: x [..., in], weight [in, out], bias [out].
/// @throws ShapeError where these do not fit
template <class T>
Var<T> linear(const Var<T>& x, const Var<T>& weight, const Var<T>& bias, Activation activation = Activation::none);

/// The same without a bias, also in one operation.
template <class T>
Var<T> linear(const Var<T>& x, const Var<T>& weight, Activation activation = Activation::none);

}  // namespace tapestry
