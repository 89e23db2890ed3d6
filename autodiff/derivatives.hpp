#pragma once

#include <functional>
#include <utility>
#include <vector>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// A function of several variables, for the transformations below.
template <class T>
using Function = std::function<Var<T>(const std::vector<Var<T>>&)>;

struct GradOptions {
  /// Record the computation of the gradients, so that they can be differentiated again.
  bool create_graph = false;
  /// Keep the graph for another pass (implied by create_graph).
  bool retain_graph = false;
};

/// The gradients of y with respect to each of xs; zeros where y does not depend on one. Changes no leaf's gradient.
/// @throws ShapeError unless y has one element, GraphError if the graph was freed, cleared or changed
template <class T>
std::vector<Var<T>> grad(const Var<T>& y, const std::vector<Var<T>>& xs, GradOptions options = {});
/// The same for <seed, y>, with a seed of y's shape.
template <class T>
std::vector<Var<T>> grad(const Var<T>& y, const std::vector<Var<T>>& xs, const Var<T>& seed, GradOptions options = {});

/// f(inputs) and the gradients of <cotangent, f> (reverse mode).
template <class T>
std::pair<Var<T>, std::vector<Var<T>>> vjp(const Function<T>& f, const std::vector<Var<T>>& inputs,
                                           const Var<T>& cotangent);

/// f(inputs) and its derivative along the tangents (forward mode). Tangents that are not defined are zero. Where an
/// input or a tangent requires a gradient, so do the results.
template <class T>
std::pair<Var<T>, Var<T>> jvp(const Function<T>& f, const std::vector<Var<T>>& inputs,
                              const std::vector<Var<T>>& tangents);

/// The Hessian of a scalar function times a vector, for each input.
template <class T>
std::vector<Var<T>> hvp(const Function<T>& f, const std::vector<Var<T>>& inputs, const std::vector<Var<T>>& vectors);

/// All partial derivatives, of shape [f's shape..., x's shape...]; reverse or forward mode, whichever takes fewer
/// passes.
template <class T>
Tensor<T> jacobian(const std::function<Var<T>(const Var<T>&)>& f, const Var<T>& x);

/// Second derivatives of a scalar function, of shape [x's shape..., x's shape...].
template <class T>
Tensor<T> hessian(const std::function<Var<T>(const Var<T>&)>& f, const Var<T>& x);

/// The gradient of each of a batch of losses [B] with respect to each of xs: [B, x's shape...].
template <class T>
std::vector<Tensor<T>> per_sample_gradients(const Var<T>& losses, const std::vector<Var<T>>& xs);

}  // namespace tapestry
