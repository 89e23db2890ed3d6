#pragma once

#include <concepts>
#include <memory>
#include <string>
#include <utility>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// What a bijection gives: y = f(x), and log |det dy/dx| for each event (the axes that belong together are summed
/// over).
template <class T>
struct Transformed {
  Var<T> value;
  Var<T> log_det;
};

namespace detail {

/// What a bijection is made of. `log_det`, where not null, is set to the logarithm of the Jacobian's determinant.
template <class F>
concept BijectionRule = requires(const F& f, const Var<double>& x, Var<double>* log_det) {
  { f.name() } -> std::convertible_to<std::string>;
  { f.forward(x, log_det) } -> std::same_as<Var<double>>;
  { f.inverse(x) } -> std::same_as<Var<double>>;
};

}  // namespace detail

/// A smooth one-to-one map from all tensors of a shape onto a set of tensors (positive ones, covariance matrices, ...):
/// a value. Axes before those of one event are a batch. What is determined by the rest of y (the last probability, the
/// upper triangle of a symmetric matrix) is no coordinate of the Jacobian.
///
/// bijections.hpp has a list of them. One of one's own is made from any struct with templates on the element type
///
///     std::string name() const;
///     Var<T> forward(const Var<T>& x, Var<T>* log_det) const;  // where log_det is not null, set it
///     Var<T> inverse(const Var<T>& y) const;
///     Shape constrained_shape(const Shape&) const; Shape unconstrained_shape(const Shape&) const;  // if not the same
class Bijection {
 public:
  // The first condition comes first: copying a Bijection must not ask whether it is a rule.
  template <class F>
  requires(!std::same_as<F, Bijection> && detail::BijectionRule<F>) Bijection(F rule)
      : rule_(std::make_shared<const RuleOf<F>>(std::move(rule))) {}

  std::string name() const { return rule_->name(); }
  /// The constrained value. @throws ShapeError
  template <class T>
  Var<T> operator()(const Var<T>& x) const {
    return rule_->forward(x, nullptr);
  }
  /// @throws ShapeError
  template <class T>
  Transformed<T> forward_and_log_det(const Var<T>& x) const {
    Transformed<T> out;
    out.value = rule_->forward(x, &out.log_det);
    return out;
  }
  /// The x that gives y. @throws ShapeError, NumericalError where y is not inside the set
  template <class T>
  Var<T> inverse(const Var<T>& y) const {
    return rule_->inverse(y);
  }
  /// The shape of f(x) for x's, and back. @throws ShapeError
  Shape constrained_shape(const Shape& unconstrained) const { return rule_->constrained_shape(unconstrained); }
  Shape unconstrained_shape(const Shape& constrained) const { return rule_->unconstrained_shape(constrained); }

 private:
  struct Rule {
    virtual ~Rule() = default;
    virtual std::string name() const = 0;
    virtual Var<float> forward(const Var<float>& x, Var<float>* log_det) const = 0;
    virtual Var<double> forward(const Var<double>& x, Var<double>* log_det) const = 0;
    virtual Var<float> inverse(const Var<float>& y) const = 0;
    virtual Var<double> inverse(const Var<double>& y) const = 0;
    virtual Shape constrained_shape(const Shape& unconstrained) const = 0;
    virtual Shape unconstrained_shape(const Shape& constrained) const = 0;
  };
  template <class F>
  struct RuleOf final : Rule {
    explicit RuleOf(F f) : rule(std::move(f)) {}
    std::string name() const override { return rule.name(); }
    Var<float> forward(const Var<float>& x, Var<float>* log_det) const override { return rule.forward(x, log_det); }
    Var<double> forward(const Var<double>& x, Var<double>* log_det) const override { return rule.forward(x, log_det); }
    Var<float> inverse(const Var<float>& y) const override { return rule.inverse(y); }
    Var<double> inverse(const Var<double>& y) const override { return rule.inverse(y); }
    Shape constrained_shape(const Shape& unconstrained) const override {
      if constexpr (requires { rule.constrained_shape(unconstrained); })
        return rule.constrained_shape(unconstrained);
      else
        return unconstrained;
    }
    Shape unconstrained_shape(const Shape& constrained) const override {
      if constexpr (requires { rule.unconstrained_shape(constrained); })
        return rule.unconstrained_shape(constrained);
      else
        return constrained;
    }
    F rule;
  };

  std::shared_ptr<const Rule> rule_;
};

}  // namespace tapestry
