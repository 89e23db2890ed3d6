#include <tapestry/autodiff/elementwise.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;
using Vars = std::vector<V>;

namespace {

Tensor<double> ramp(std::size_t n, double low, double high) {
  Tensor<double> x = empty_tensor<double>({static_cast<std::int64_t>(n)});
  for (std::size_t i = 0; i < n; ++i) x(i) = low + (high - low) * static_cast<double>(i) / static_cast<double>(n);
  return x;
}

}  // namespace

TEST_CASE("elementwise: the value and the gradients are those of the composed operations") {
  for (const std::size_t n : {1, 5, 64, 65, 1000}) {
    V a(ramp(n, -2, 2), true), b(ramp(n, 0.5, 3), true);
    const V fused = elementwise([](auto x, auto y) { return tanh(sigmoid(x) * y) / (1.0 + exp(x)) - y * 0.5; }, a, b);
    const V composed = tanh(sigmoid(a) * b) / (1.0 + exp(a)) - b * 0.5;
    const auto g = grad(sum(square(fused)), {a, b}), h = grad(sum(square(composed)), {a, b});
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(fused.value()(i) == doctest::Approx(composed.value()(i)).epsilon(1e-14));
      CHECK(g[0].value()(i) == doctest::Approx(h[0].value()(i)).epsilon(1e-13));
      CHECK(g[1].value()(i) == doctest::Approx(h[1].value()(i)).epsilon(1e-13));
    }
  }
}

TEST_CASE("elementwise: derivatives to second order, broadcasting and one-element inputs") {
  const Vars inputs = {V(Tensor<double>{{0.3, -0.8, 1.2}, {0.1, 0.9, -1.0}}), V(Tensor<double>{0.4, 1.5, 0.7}), V(0.9)};
  const Function<double> f = [](const Vars& x) {
    return elementwise([](auto a, auto b, auto c) { return exp(a * c) * log(b) + where(a > 0.0, a * a, b * c); }, x[0],
                       x[1], x[2]);
  };
  CHECK_NOTHROW(check_gradients(f, inputs, {.order = 2}));
  CHECK(f(inputs).shape() == Shape{2, 3});
}

TEST_CASE_TEMPLATE("elementwise: exponentials are exact to a few units in the last place, at the edges, too", T, float,
                   double) {
  using Limits = std::numeric_limits<T>;
  using Real = long double;
  const T inf = Limits::infinity();
  const std::vector<T> edges = {inf,       -inf,     Limits::quiet_NaN(),
                                T(0),      T(-0.0),  Limits::denorm_min(),
                                T(-1e-30), T(88.5),  T(88.73),
                                T(89.5),   T(-87.5), T(-103),
                                T(-104.5), T(709.5), T(711),
                                T(-744),   T(-747),  T(20),
                                T(-20),    T(1e30),  T(-1e30),
                                T(0.3),    T(-0.35), T(1e-3),
                                T(9),      T(-11.5), T(21.5)};
  Tensor<T> x = empty_tensor<T>({static_cast<std::int64_t>(edges.size())});
  std::copy(edges.begin(), edges.end(), x.data());
  const Var<T> v(std::move(x));
  const auto check = [&](const std::string& name, const Var<T>& computed, Real (*exact)(Real)) {
    for (std::int64_t i = 0; i < v.size(); ++i) {
      const T a = computed.data()[i], b = static_cast<T>(exact(v.data()[i]));
      INFO(name, " at ", v.data()[i], ": ", a, " for ", b);
      CHECK(std::isnan(a) == std::isnan(b));
      if (std::isnan(b)) continue;
      CHECK(std::signbit(a) == std::signbit(b));
      CHECK((a == b || std::abs(a - b) <= 3 * std::max(Limits::epsilon() * std::abs(b), Limits::denorm_min())));
    }
  };
  const auto exp_of = [](Real a) { return std::exp(a); };
  const auto sigmoid_of = [](Real a) { return 1 / (1 + std::exp(-a)); };
  const auto tanh_of = [](Real a) { return std::tanh(a); };
  check("exp", exp(v), exp_of);
  check("exp in a lambda", elementwise([](auto a) { return exp(a); }, v), exp_of);
  check("sigmoid", sigmoid(v), sigmoid_of);
  check("sigmoid in a lambda", elementwise([](auto a) { return sigmoid(a); }, v), sigmoid_of);
  check("tanh", tanh(v), tanh_of);
  check("tanh in a lambda", elementwise([](auto a) { return tanh(a); }, v), tanh_of);
  check("square in a lambda", elementwise([](auto a) { return square(a); }, v), [](Real a) { return a * a; });
  check("reciprocal in a lambda", elementwise([](auto a) { return reciprocal(a); }, v), [](Real a) { return 1 / a; });
}

TEST_CASE("elementwise: inputs that do not broadcast are refused by name, empty ones are fine") {
  const V a(Tensor<double>{1.0, 2.0}), b(Tensor<double>{1.0, 2.0, 3.0});
  CHECK_THROWS_WITH_AS(elementwise<double>(
                           "gate", [](auto x, auto y) { return x * y; }, a, b),
                       "gate: shapes do not broadcast: [2] and [3]", ShapeError);
  V none(empty_tensor<double>({0, 3}), true);
  const V y = elementwise([](auto x) { return exp(x); }, none);
  CHECK(y.shape() == Shape{0, 3});
  CHECK(grad(sum(y), {none})[0].shape() == Shape{0, 3});
}

TEST_CASE("elementwise: partial derivatives outlive a pass that keeps the graph, and are given away by the last one") {
  const auto f = [](auto x) { return exp(x) * x; };
  V x(ramp(300, -1, 1), true);
  const auto slope = [&](std::size_t i) { return std::exp(x.value()(i)) * (1 + x.value()(i)); };
  const V y = elementwise(f, x);
  const V once = sum(y), scaled = 3.0 * sum(y), twice = sum(y * y);
  once.backward({.retain_graph = true});
  scaled.backward({.retain_graph = true});
  twice.backward({.retain_graph = true});
  for (const std::size_t i : {0, 123, 299})
    CHECK(x.gradient()(i) == doctest::Approx(slope(i) * (4 + 2 * y.value()(i))).epsilon(1e-13));
  x.zero_gradient();
  once.backward();
  CHECK(x.gradient()(7) == doctest::Approx(slope(7)).epsilon(1e-13));
  CHECK_THROWS_AS(scaled.backward(), GraphError);
  // A gradient that others have added to already, and one that comes later.
  x.zero_gradient();
  const V square_first = sum(elementwise(f, x) + square(x)), square_last = sum(square(x) + elementwise(f, x));
  square_first.backward();
  square_last.backward();
  CHECK(x.gradient()(200) == doctest::Approx(2 * (slope(200) + 2 * x.value()(200))).epsilon(1e-13));
  // Through variables that are no leaves, whose nodes go with the graph.
  const std::size_t before = memory_statistics().in_use;
  for (int step = 0; step < 3; ++step) {
    x.zero_gradient();
    sum(elementwise(f, elementwise(f, square(x)) * 0.5)).backward();
  }
  x.zero_gradient();
  CHECK(memory_statistics().in_use <= before);
}
