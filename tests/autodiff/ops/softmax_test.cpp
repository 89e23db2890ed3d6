#include <tapestry/autodiff/ops/softmax.hpp>

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

#include "autodiff/ops/compare.hpp"

using namespace tapestry;

using V = Var<double>;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

V random(const Shape& shape, unsigned seed, bool requires_grad = false) {
  return V(Tensor<double>(3 * testing::normal_values(shape, seed)), requires_grad);
}

bool finite(const V& x) {
  for (std::int64_t i = 0; i < x.size(); ++i)
    if (!std::isfinite(x.data()[i])) return false;
  return true;
}

}  // namespace

TEST_CASE("softmax: over every axis against loops, and fused backward against the rule") {
  const V x = random({5, 7, 33}, 1), seed = random({5, 7, 33}, 2);
  for (const std::int64_t axis : {0, 1, 2}) {
    const V log_sum = logsumexp(x, {axis}, true);
    const V p = softmax(x, axis), l = log_softmax(x, axis);
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t j = 0; j < 7; ++j)
        for (std::size_t k = 0; k < 33; ++k) {
          double total = 0;
          const std::size_t n = x.value().shape(static_cast<std::size_t>(axis));
          for (std::size_t a = 0; a < n; ++a)
            total += std::exp(x.value()(axis == 0 ? a : i, axis == 1 ? a : j, axis == 2 ? a : k));
          CHECK(p.value()(i, j, k) == doctest::Approx(std::exp(x.value()(i, j, k)) / total).epsilon(1e-13));
          CHECK(l.value()(i, j, k) == doctest::Approx(x.value()(i, j, k) - std::log(total)).epsilon(1e-13));
        }
    for (const bool logarithm : {false, true}) {
      V leaf(x.tensor(), true);
      const V y = logarithm ? log_softmax(leaf, axis) : softmax(leaf, axis);
      const V rule = grad(y, {leaf}, seed, {.create_graph = true})[0];
      (sum(y * seed) + sum(2.0 * leaf)).backward();
      for (std::int64_t i = 0; i < x.size(); ++i)
        CHECK(leaf.gradient().data()[i] == doctest::Approx(rule.data()[i] + 2).epsilon(1e-12));
    }
  }
}

TEST_CASE("softmax: impossible slices and elements") {
  V x(Tensor<double>{{-inf, -inf, -inf}, {-inf, 1, 1}, {1000, 0, -1000}}, true);
  CHECK(softmax(x).tensor() == Tensor<double>{{0, 0, 0}, {0, 0.5, 0.5}, {1, 0, 0}});
  CHECK(log_softmax(x).value()(0, 1) == -inf);
  CHECK(log_softmax(x).value()(1, 0) == -inf);
  CHECK(log_softmax(x).value()(1, 1) == doctest::Approx(-std::log(2)));
  CHECK(logsumexp(x, {1}).value()(0) == -inf);
  for (const std::int64_t axis : {0, 1}) {
    const V g =
        grad(softmax(x, axis), {x}, V(Tensor<double>{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}), {.create_graph = true})[0];
    CHECK(finite(g));
    CHECK(finite(grad(sum(square(g)), {x})[0]));
    const V h = grad(logsumexp(x, {axis}), {x}, V(Tensor<double>{1, 2, 3}), {.create_graph = true})[0];
    CHECK(finite(h));
    CHECK(finite(grad(sum(square(h)), {x})[0]));
    const V fused = grad(logsumexp(x, {axis}), {x}, V(Tensor<double>{1, 2, 3}))[0];
    for (std::int64_t i = 0; i < 9; ++i) CHECK(fused.data()[i] == doctest::Approx(h.data()[i]).epsilon(1e-13));
  }
  const V g = grad(logsumexp(x, {1}), {x}, V::ones({3}))[0];
  CHECK(g.value()(0, 0) == 0);
  CHECK(g.value()(1, 0) == 0);
  CHECK(g.value()(1, 2) == doctest::Approx(0.5));
}

TEST_CASE("softmax: plus infinity") {
  V x(Tensor<double>{{inf, 0, -inf}, {inf, inf, 1}}, true);
  CHECK(softmax(x).tensor() == Tensor<double>{{1, 0, 0}, {0.5, 0.5, 0}});
  CHECK(logsumexp(x, {1}).tensor() == Tensor<double>{inf, inf});
  const V g = grad(logsumexp(x, {1}), {x}, V::ones({2}), {.create_graph = true})[0];
  CHECK(finite(g));
  CHECK(g.value()(0, 0) == 1);
  CHECK(g.value()(0, 1) == 0);
  CHECK(finite(grad(logsumexp(x, {1}), {x}, V::ones({2}))[0]));
}

TEST_CASE("softmax: empty axes and absent ones") {
  CHECK(softmax(V::zeros({2, 0})).shape() == Shape{2, 0});
  CHECK(log_softmax(V::zeros({0, 2})).shape() == Shape{0, 2});
  CHECK(softmax(V::zeros({3, 1})).tensor() == V::ones({3, 1}).tensor());
  CHECK_THROWS_AS(softmax(V(1.0)), ShapeError);
  CHECK_THROWS_AS(log_softmax(V::zeros({2}), 1), ShapeError);
}
