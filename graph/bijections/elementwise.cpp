#include <cmath>
#include <string>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/graph/bijections.hpp>
#include <tapestry/graph/bijections/checks.hpp>

namespace tapestry::bijections {
namespace {

struct Softplus {
  std::string name() const { return "positive"; }
  template <class T>
  Var<T> forward(const Var<T>& x, Var<T>* log_det) const {
    if (log_det) *log_det = log_sigmoid(x);
    return softplus(x);
  }
  template <class T>
  Var<T> inverse(const Var<T>& y) const {
    detail::check_inside(name(), y, "positive", [](T v) { return v > 0; });
    return y + log(-expm1(-y));
  }
};

/// bound + sign e^x
struct Bounded {
  double bound, sign;
  std::string name_;
  std::string name() const { return name_; }
  template <class T>
  Var<T> forward(const Var<T>& x, Var<T>* log_det) const {
    if (log_det) *log_det = x;
    if (bound == 0 && sign > 0) return exp(x);
    return exp(x) * static_cast<T>(sign) + static_cast<T>(bound);
  }
  template <class T>
  Var<T> inverse(const Var<T>& y) const {
    const T at = static_cast<T>(bound);
    detail::check_inside(name(), y, bound == 0 && sign > 0 ? "positive" : "inside the bound",
                         [&](T v) { return sign > 0 ? v > at : v < at; });
    return log((y - at) * static_cast<T>(sign));
  }
};

struct Interval {
  double low, high;
  std::string name() const { return "interval"; }
  template <class T>
  Var<T> forward(const Var<T>& x, Var<T>* log_det) const {
    const T width = static_cast<T>(high - low);
    if (log_det) *log_det = log_sigmoid(x) + log_sigmoid(-x) + std::log(width);
    return sigmoid(x) * width + static_cast<T>(low);
  }
  template <class T>
  Var<T> inverse(const Var<T>& y) const {
    const T a = static_cast<T>(low), b = static_cast<T>(high);
    detail::check_inside(name(), y, "inside the interval", [&](T v) { return v > a && v < b; });
    return log(y - a) - log(b - y);
  }
};

}  // namespace

Bijection positive(Positive map) {
  if (map == Positive::softplus) return Softplus();
  return Bounded{0, 1, "positive"};
}

Bijection greater_than(double low) {
  if (!std::isfinite(low)) fail<NumericalError>("greater_than", "a bound of ", low);
  return Bounded{low, 1, "greater_than"};
}

Bijection less_than(double high) {
  if (!std::isfinite(high)) fail<NumericalError>("less_than", "a bound of ", high);
  return Bounded{high, -1, "less_than"};
}

Bijection interval(double low, double high) {
  if (!std::isfinite(low) || !std::isfinite(high) || !(low < high))
    fail<NumericalError>("interval", "bounds of ", low, " and ", high);
  return Interval{low, high};
}

}  // namespace tapestry::bijections
