#include <tapestry/autodiff/ops/cumulative.hpp>

#include <cmath>
#include <limits>
#include <random>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

V random(const Shape& shape, unsigned seed) {
  std::mt19937_64 bits(seed);
  std::normal_distribution<double> normal;
  Tensor<double> x = empty_tensor<double>(shape);
  for (double& value : x) value = normal(bits);
  return V(std::move(x));
}

// The fused backward pass, onto a gradient that is there already, against the rule in operations.
void check_fused(const Function<double>& f, const std::vector<V>& inputs) {
  std::vector<V> leaves;
  for (const V& x : inputs) leaves.emplace_back(x.tensor(), true);
  const V y = f(leaves), seed = random(y.shape(), 99);
  const auto rule = grad(y, leaves, seed, {.create_graph = true});
  V total = sum(y * seed);
  for (const V& x : leaves) total = total + sum(3.0 * x);
  total.backward();
  for (std::size_t k = 0; k < leaves.size(); ++k)
    for (std::int64_t i = 0; i < leaves[k].size(); ++i)
      CHECK(leaves[k].gradient().data()[i] == doctest::Approx(rule[k].data()[i] + 3).epsilon(1e-11));
}

}  // namespace

TEST_CASE("cumulative: fused backward is the rule, along every axis and past the kernels' segments") {
  const V x = random({3, 150, 2}, 1) * 0.3 + 1.0, z = random({3, 150, 2}, 2);
  for (const std::int64_t axis : {0, 1, 2}) {
    check_fused([=](const auto& v) { return cumsum(v[0], axis, true); }, {z});
    check_fused([=](const auto& v) { return cumprod(v[0], axis); }, {x * 0.9});
    check_fused([=](const auto& v) { return logcumsumexp(v[0], axis); }, {z});
    for (const bool reverse : {false, true})
      check_fused([=](const auto& v) { return linear_recurrence(v[0], v[1], axis, reverse); }, {0.5 * z, x});
  }
}

TEST_CASE_TEMPLATE("cumulative: scans of rows longer than vectors, and their rests", T, float, double) {
  const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
  for (const std::int64_t n : {1, 2, 15, 16, 17, 37, 64}) {
    CAPTURE(n);
    const Tensor<T> x(random({3, n}, 7).value());
    const Var<T> sums = cumsum(Var<T>(x), 1), from_end = cumsum(Var<T>(x), 1, true), logs = logcumsumexp(Var<T>(x), 1);
    for (std::int64_t r = 0; r < 3; ++r) {
      double sum = 0, exponentials = 0, all = 0;
      for (std::int64_t i = 0; i < n; ++i) all += static_cast<double>(x(r, i));
      for (std::int64_t i = 0; i < n; ++i) {
        CHECK(static_cast<double>(from_end.value()(r, i)) - (all - sum) == doctest::Approx(0).epsilon(30 * tolerance));
        sum += static_cast<double>(x(r, i));
        exponentials += std::exp(static_cast<double>(x(r, i)));
        CHECK(static_cast<double>(sums.value()(r, i)) - sum == doctest::Approx(0).epsilon(30 * tolerance));
        CHECK(static_cast<double>(logs.value()(r, i)) ==
              doctest::Approx(std::log(exponentials)).epsilon(10 * tolerance));
      }
    }
  }
  for (const std::int64_t n : {7, 16, 37})
    check_fused([](const auto& v) { return logcumsumexp(v[0], 1); }, {random({3, n}, 8)});
}

TEST_CASE("cumulative: products through zeros") {
  const Tensor<double> at = {2, 0, 3, 0, 4};
  V x(at, true);
  const V y = cumprod(x, 0);
  CHECK(y.tensor() == Tensor<double>{2, 0, 0, 0, 0});
  const V g = V::ones({5});
  // d/dx_1: 2 + 2 3 = 8 of the second and third product; x_3 meets the zero before it.
  const Tensor<double> expected = {1, 8, 0, 0, 0};
  CHECK(grad(y, {x}, g, {.retain_graph = true})[0].tensor() == expected);
  CHECK(grad(y, {x}, g, {.create_graph = true})[0].tensor() == expected);
  CHECK_NOTHROW(check_gradients([](const auto& v) { return cumprod(v[0], 0); }, {V(at)}, {.order = 2}));
}

TEST_CASE("cumulative: logcumsumexp with impossible beginnings, large and infinite elements") {
  V x(Tensor<double>{-inf, -inf, 1, 1000, -inf, 1000}, true);
  const V y = logcumsumexp(x, 0);
  CHECK(y.value()(0) == -inf);
  CHECK(y.value()(1) == -inf);
  CHECK(y.value()(2) == 1);
  CHECK(y.value()(4) == 1000);
  CHECK(y.value()(5) == doctest::Approx(1000 + std::log(2)));
  const V seed = V::ones({6});
  const V fused = grad(y, {x}, seed, {.retain_graph = true})[0];
  const V rule = grad(y, {x}, seed, {.create_graph = true})[0];
  for (std::int64_t i = 0; i < 6; ++i) CHECK(fused.data()[i] == doctest::Approx(rule.data()[i]).epsilon(1e-13));
  CHECK(fused.value()(0) == 0);
  CHECK(fused.value()(2) == 1);
  CHECK(fused.value()(3) == doctest::Approx(2.5));
  for (const double value : grad(sum(square(rule)), {x})[0].value()) CHECK(std::isfinite(value));
  CHECK(logcumsumexp(V(Tensor<double>{0, inf, 0}), 0).tensor() == Tensor<double>{0, inf, inf});
}

TEST_CASE("cumulative: sums both ways, empty and of one element") {
  const V x(Tensor<double>{{1, 2, 3}, {4, 5, 6}});
  CHECK(cumsum(x, 1).tensor() == Tensor<double>{{1, 3, 6}, {4, 9, 15}});
  CHECK(cumsum(x, 0, true).tensor() == Tensor<double>{{5, 7, 9}, {4, 5, 6}});
  CHECK(cumsum(V::zeros({0, 3}), 0).shape() == Shape{0, 3});
  CHECK(cumprod(V::zeros({3, 0}), 1).shape() == Shape{3, 0});
  CHECK(logcumsumexp(V(Tensor<double>{7}), 0).item() == 7);
  CHECK_THROWS_AS(cumsum(V(1.0), 0), ShapeError);
  V none = V::filled({0}, 0.0, true);
  grad(cumprod(none, 0), {none}, V::zeros({0}), {.create_graph = true});
}

TEST_CASE("cumulative: linear recurrence") {
  const V a(Tensor<double>{9, 2, 3}), b(Tensor<double>{1, 1, 1});
  CHECK(linear_recurrence(a, b, 0).tensor() == Tensor<double>{1, 3, 10});
  CHECK(linear_recurrence(a, b, 0, true).tensor() == Tensor<double>{28, 3, 1});
  CHECK(linear_recurrence(V(2.0), b, 0).tensor() == Tensor<double>{1, 3, 7});
  CHECK_THROWS_AS(linear_recurrence(a, V::zeros({2}), 0), ShapeError);
}
