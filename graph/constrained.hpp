#pragma once

#include <utility>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/graph/bijections.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry {

/// A parameter that stays in a set, whatever an optimiser does: a module with one parameter, "unconstrained", that is
/// trained and saved, behind a bijection.
///
///     struct Gaussian {
///       Var<double> mean;
///       Constrained<double> covariance{Tensor<double>(xt::eye<double>(3)), bijections::covariance()};
///       void members(Members& m) { m("mean", mean)("covariance", covariance); }
///     };
///
/// Copies share the parameter, as those of variables do.
template <class T>
class Constrained {
 public:
  /// Starts at a constrained value. @throws ShapeError, NumericalError where it is not inside the set
  Constrained(const Tensor<T>& value, Bijection bijection)
      : bijection_(std::move(bijection)), unconstrained_(unconstrained(value), true) {}
  /// Starts at the image of a variable, a leaf, that may be shared. @throws ShapeError, GraphError
  Constrained(Var<T> unconstrained, Bijection bijection)
      : bijection_(std::move(bijection)), unconstrained_(std::move(unconstrained)) {
    if (!unconstrained_.leaf()) fail<GraphError>("Constrained", "the parameter is the result of an operation");
    bijection_.constrained_shape(unconstrained_.shape());
  }

  /// The constrained value, computed anew from the parameter.
  Var<T> value() const { return bijection_(unconstrained_); }
  /// With the logarithm of the Jacobian's determinant: what a density of the value needs to become one of the
  /// parameter.
  Transformed<T> value_and_log_det() const { return bijection_.forward_and_log_det(unconstrained_); }
  /// Sets the parameter so that value() is this. @throws ShapeError, NumericalError where it is not inside the set
  void assign(const Tensor<T>& value) { unconstrained_.assign(unconstrained(value)); }

  const Var<T>& unconstrained() const noexcept { return unconstrained_; }
  const Bijection& bijection() const noexcept { return bijection_; }
  void members(Members& m) { m("unconstrained", unconstrained_); }

 private:
  Tensor<T> unconstrained(const Tensor<T>& value) const { return bijection_.inverse(Var<T>(value)).tensor(); }

  Bijection bijection_;
  Var<T> unconstrained_;
};

}  // namespace tapestry
