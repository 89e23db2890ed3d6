#include <cmath>
#include <string>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/cumulative.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/graph/bijections.hpp>
#include <tapestry/graph/bijections/checks.hpp>

namespace tapestry::bijections {
namespace {

struct Ordered {
  bool is_positive;
  std::string name() const { return is_positive ? "positive_ordered" : "ordered"; }

  template <class T>
  Var<T> forward(const Var<T>& x, Var<T>* log_det) const {
    detail::check_vector(name(), x.shape());
    if (is_positive || x.shape().back() == 0) {
      if (log_det) *log_det = sum(x, {-1});
      return cumsum(exp(x), -1);
    }
    const Var<T> first = slice(x, -1, {0, 1}), steps = slice(x, -1, {1, x.shape().back()});
    if (log_det) *log_det = sum(steps, {-1});
    return cumsum(concatenate({first, exp(steps)}, -1), -1);
  }

  template <class T>
  Var<T> inverse(const Var<T>& y) const {
    detail::check_vector(name(), y.shape());
    const std::int64_t n = y.shape().back();
    if (n == 0) return y;
    const T* const values = y.data();
    for (std::int64_t i = 0; i < y.size(); ++i) {
      const bool first = i % n == 0;
      if (!std::isfinite(values[i]) || (first && is_positive && !(values[i] > 0)) ||
          (!first && !(values[i] > values[i - 1])))
        fail<NumericalError>(name(), "element ", i, ", ", values[i], ", is not above the one before");
    }
    const Var<T> first = slice(y, -1, {0, 1});
    const Var<T> steps = slice(y, -1, {1, n}) - slice(y, -1, {0, n - 1});
    return concatenate({is_positive ? log(first) : first, log(steps)}, -1);
  }
};

}  // namespace

Bijection ordered() {
  return Ordered{false};
}
Bijection positive_ordered() {
  return Ordered{true};
}

}  // namespace tapestry::bijections
