#include <tapestry/autodiff/ops/masking.hpp>

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
const double not_a_number = std::nan("");

}  // namespace

TEST_CASE("masking: comparisons are constants") {
  const V a(Tensor<double>{1, 2, not_a_number, inf}, true), b(Tensor<double>{1, 3, not_a_number, 1});
  CHECK(less(a, b).tensor() == Tensor<double>{0, 1, 0, 0});
  CHECK(greater_equal(a, b).tensor() == Tensor<double>{1, 0, 0, 1});
  CHECK(equal(a, b).tensor() == Tensor<double>{1, 0, 0, 0});
  CHECK(not_equal(a, b).tensor() == Tensor<double>{0, 1, 1, 1});
  CHECK_FALSE(less(a, b).requires_grad());
  CHECK(greater(a, reshape(V(Tensor<double>{0, 5}), {2, 1})).shape() == Shape{2, 4});
  CHECK_THROWS_AS(less(a, V::zeros({3})), ShapeError);
}

TEST_CASE("masking: where lets nothing through from the side not taken") {
  V a(Tensor<double>{1, inf, not_a_number}, true), b(Tensor<double>{not_a_number, 2, 3}, true);
  const V y = where(V(Tensor<double>{1, 0, 0}), a, b);
  CHECK(y.tensor() == Tensor<double>{1, 2, 3});
  sum(log(y)).backward();
  CHECK(a.gradient()(0) == 1);
  CHECK(a.gradient()(1) == 0);
  CHECK(a.gradient()(2) == 0);
  CHECK(b.gradient()(0) == 0);
  CHECK(b.gradient()(2) == doctest::Approx(1.0 / 3));
}

TEST_CASE("masking: where broadcasts all three, and its backward is its rule") {
  const V condition = reshape(V(Tensor<double>{1, 0, 1}), {3, 1});
  const V a = V(Tensor<double>{1, 2}, true), b(5.0, true);
  const V y = where(condition, a, b);
  CHECK(y.tensor() == Tensor<double>{{1, 2}, {5, 5}, {1, 2}});
  const V g(Tensor<double>{{1, 2}, {3, 4}, {5, 6}});
  const auto fused = grad(y, {a, b}, g, {.retain_graph = true});
  const auto rule = grad(y, {a, b}, g, {.create_graph = true});
  CHECK(fused[0].tensor() == Tensor<double>{6, 8});
  CHECK(fused[1].item() == 7);
  CHECK(rule[0].tensor() == fused[0].tensor());
  CHECK(rule[1].item() == 7);
  CHECK_THROWS_AS(where(condition, a, V::zeros({3})), ShapeError);
  CHECK(where(V::zeros({0, 1}), a, b).shape() == Shape{0, 2});
}

TEST_CASE("masking: masked_fill") {
  V x(Tensor<double>{{1, 2}, {3, 4}}, true);
  const V y = masked_fill(x, Indices{1, 0}, -inf);
  CHECK(y.tensor() == Tensor<double>{{-inf, 2}, {-inf, 4}});
  sum(exp(y)).backward();
  CHECK(x.gradient()(0, 0) == 0);
  CHECK(x.gradient()(1, 1) == doctest::Approx(std::exp(4)));
  CHECK_THROWS_WITH_AS(masked_fill(V::zeros({2}), V::zeros({2, 2}), 0),
                       "masked_fill: a mask of shape [2, 2] for a tensor of shape [2]", ShapeError);
}

TEST_CASE("masking: triangles of batches, beyond the diagonal's ends too") {
  const V x(Tensor<double>{{1, 2, 3}, {4, 5, 6}});
  CHECK(triu(x).tensor() == Tensor<double>{{1, 2, 3}, {0, 5, 6}});
  CHECK(tril(x).tensor() == Tensor<double>{{1, 0, 0}, {4, 5, 0}});
  CHECK(triu(x, 5).tensor() == Tensor<double>{{0, 0, 0}, {0, 0, 0}});
  CHECK(triu(x, -5).tensor() == x.tensor());
  CHECK(tril(x, -5).tensor() == Tensor<double>{{0, 0, 0}, {0, 0, 0}});
  CHECK(tril(x, 5).tensor() == x.tensor());
  CHECK(triu(V::zeros({0, 2, 0})).shape() == Shape{0, 2, 0});
  CHECK_THROWS_WITH_AS(tril(V::zeros({3})), "tril: x of shape [3] has less than two axes", ShapeError);
  // Infinities outside the triangle do not become NaN.
  CHECK(tril(V(Tensor<double>{{1, inf}, {2, 3}})).tensor() == Tensor<double>{{1, 0}, {2, 3}});
}
