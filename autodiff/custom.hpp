#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

template <class T>
using TensorViews = std::vector<TensorView<const T>>;

/// An operation of your own, on xtensor arrays. `State` is whatever forward() keeps for the derivative.
/// Where vjp_in_operations is given, higher orders and forward mode work too.
template <class T, class State = std::monostate>
struct CustomOperation {
  std::string name;
  /// Inputs to outputs.
  std::function<std::vector<Tensor<T>>(const TensorViews<T>& inputs, State& state)> forward;
  /// Inputs, outputs and the outputs' gradients to the inputs' gradients.
  std::function<std::vector<Tensor<T>>(const TensorViews<T>& inputs, const TensorViews<T>& outputs,
                                       const TensorViews<T>& gradients, const State& state)>
      vjp = nullptr;
  /// The same in operations on variables.
  std::function<std::vector<Var<T>>(const std::vector<Var<T>>& inputs, const std::vector<Var<T>>& outputs,
                                    const std::vector<Var<T>>& gradients)>
      vjp_in_operations = nullptr;
  /// Inputs and their tangents to the outputs' tangents, in operations on variables.
  std::function<std::vector<Var<T>>(const std::vector<Var<T>>& inputs, const std::vector<Var<T>>& tangents)> jvp =
      nullptr;

  /// Evaluates and records the operation.
  /// @throws ShapeError where vjp gives a gradient of another shape than its input, and what the functions throw
  std::vector<Var<T>> operator()(const std::vector<Var<T>>& inputs) const;
};

namespace detail {

/// CustomOperation without its state's type.
template <class T>
struct ErasedCustom {
  std::string name;
  std::function<std::vector<Tensor<T>>(const TensorViews<T>&)> forward;
  std::function<std::vector<Tensor<T>>(const TensorViews<T>&, const TensorViews<T>&, const TensorViews<T>&)> vjp;
  std::function<std::vector<Var<T>>(const std::vector<Var<T>>&, const std::vector<Var<T>>&, const std::vector<Var<T>>&)>
      vjp_in_operations;
  std::function<std::vector<Var<T>>(const std::vector<Var<T>>&, const std::vector<Var<T>>&)> jvp;
};

template <class T>
std::vector<Var<T>> apply_custom(ErasedCustom<T> operation, const std::vector<Var<T>>& inputs);

}  // namespace detail

template <class T, class State>
std::vector<Var<T>> CustomOperation<T, State>::operator()(const std::vector<Var<T>>& inputs) const {
  auto state = std::make_shared<State>();
  detail::ErasedCustom<T> erased{name, nullptr, nullptr, vjp_in_operations, jvp};
  erased.forward = [f = forward, state](const TensorViews<T>& x) { return f(x, *state); };
  if (vjp)
    erased.vjp = [rule = vjp, state](const TensorViews<T>& x, const TensorViews<T>& y, const TensorViews<T>& g) {
      return rule(x, y, g, *state);
    };
  return detail::apply_custom(std::move(erased), inputs);
}

/// `value` in forward direction, the gradient of `surrogate` in backward direction (same shapes).
/// @throws ShapeError
template <class T>
Var<T> with_gradient(const Var<T>& value, const Var<T>& surrogate);

/// The value of f(x) with the gradient of x: the straight-through estimator (Bengio, Leonard, Courville 2013).
template <class T>
Var<T> straight_through(const Var<T>& value, const Var<T>& x) {
  return with_gradient(value, x);
}

/// The same value; no gradient passes.
template <class T>
Var<T> stop_gradient(const Var<T>& x) {
  return x.detach();
}

/// Scales the gradients of the variables so that their joint Euclidean norm is at most max_norm.
/// @return the norm before
/// @throws NumericalError for a max_norm that is negative or not a number
template <class T>
T clip_gradient_norm(const std::vector<Var<T>>& variables, T max_norm);
/// Limits each element of the gradients to [-limit, limit].
/// @throws NumericalError for a limit that is negative or not a number
template <class T>
void clip_gradient_value(const std::vector<Var<T>>& variables, T limit);

}  // namespace tapestry
