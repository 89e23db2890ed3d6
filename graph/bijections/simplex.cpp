#include <cmath>
#include <limits>
#include <string>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/cumulative.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/graph/bijections.hpp>
#include <tapestry/graph/bijections/checks.hpp>
#include <tapestry/graph/bijections/last_axis.hpp>

namespace tapestry::bijections {
namespace {

using detail::zero_after;
using detail::zero_before;

struct OnSimplex {
  Simplex map;
  bool matrix;
  std::string name() const { return matrix ? "stochastic_matrix" : "simplex"; }

  Shape constrained_shape(const Shape& x) const {
    check_rank(x);
    Shape y = x;
    ++y[y.rank() - 1];
    return y;
  }
  Shape unconstrained_shape(const Shape& y) const {
    check_rank(y);
    Shape x = y;
    if (--x[x.rank() - 1] < 0) fail<ShapeError>(name(), "no components in ", y);
    return x;
  }

  template <class T>
  Var<T> forward(const Var<T>& x, Var<T>* log_det) const {
    check_rank(x.shape());
    const Axes event = matrix ? Axes{-2, -1} : Axes{-1};
    if (map == Simplex::softmax) {
      const Var<T> logits = zero_after(x);
      if (log_det) *log_det = sum(log_softmax(logits, -1), event);
      return softmax(logits, -1);
    }
    const Var<T> shares = x - log_rest<T>(x.shape().back());
    // The logarithm of what is left before each component, and after the last share.
    const Var<T> left = zero_before(cumsum(log_sigmoid(-shares), -1));
    const Var<T> log_y = zero_after(log_sigmoid(shares)) + left;
    if (log_det)
      *log_det = sum(log_sigmoid(shares) + log_sigmoid(-shares) + slice(left, -1, {0, x.shape().back()}), event);
    return exp(log_y);
  }

  template <class T>
  Var<T> inverse(const Var<T>& y) const {
    const std::int64_t n = unconstrained_shape(y.shape()).back();
    check_simplexes(y);
    const Var<T> head = slice(y, -1, {0, n});
    if (map == Simplex::softmax) return log(head) - log(slice(y, -1, {n, n + 1}));
    const Var<T> rest = slice(cumsum(y, -1, true), -1, {1, n + 1});
    return log(head) - log(rest) + log_rest<T>(n);
  }

 private:
  void check_rank(const Shape& shape) const {
    if (matrix && shape.rank() < 2) fail<ShapeError>(name(), shape, " where a matrix is expected");
    detail::check_vector(name(), shape);
  }
  /// log of the number of components after each: log(n), ..., log(1).
  template <class T>
  static Var<T> log_rest(std::int64_t n) {
    Tensor<T> out = empty_tensor<T>({n});
    for (std::int64_t k = 0; k < n; ++k) out.data()[k] = static_cast<T>(std::log(static_cast<double>(n - k)));
    return Var<T>(std::move(out));
  }
  template <class T>
  void check_simplexes(const Var<T>& y) const {
    const std::int64_t n = y.shape().back();
    const T* const values = y.data();
    for (std::int64_t i = 0; i < y.size(); i += n) {
      double total = 0;
      for (std::int64_t k = i; k < i + n; ++k) {
        if (!(values[k] > 0)) fail<NumericalError>(name(), "element ", k, ", ", values[k], ", is not positive");
        total += static_cast<double>(values[k]);
      }
      if (!(std::fabs(total - 1) <= std::sqrt(static_cast<double>(std::numeric_limits<T>::epsilon()))))
        fail<NumericalError>(name(), "the sum from element ", i, " on is ", total, ", not 1");
    }
  }
};

}  // namespace

Bijection simplex(Simplex map) {
  return OnSimplex{map, false};
}
Bijection stochastic_matrix(Simplex map) {
  return OnSimplex{map, true};
}

}  // namespace tapestry::bijections
