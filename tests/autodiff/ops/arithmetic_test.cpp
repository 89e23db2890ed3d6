#include <tapestry/autodiff/ops/arithmetic.hpp>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

TEST_CASE("arithmetic: maximum and minimum share the gradient at a tie, in the rule in operations too") {
  const V a(Tensor<double>{1, 2, 3}, true), b(Tensor<double>{1, 3, 2}, true);
  for (const bool rule : {false, true}) {
    const auto high = grad(sum(maximum(a, b)), {a, b}, {.create_graph = rule});
    CHECK(high[0].tensor() == Tensor<double>{0.5, 0, 1});
    CHECK(high[1].tensor() == Tensor<double>{0.5, 1, 0});
    const auto low = grad(sum(minimum(a, b)), {a, b}, {.create_graph = rule});
    CHECK(low[0].tensor() == Tensor<double>{0.5, 1, 0});
    CHECK(low[1].tensor() == Tensor<double>{0.5, 0, 1});
  }
}

TEST_CASE("arithmetic: a number on either side keeps the type, and assignment records") {
  Var<float> x(Tensor<float>{1, 2}, true);
  CHECK((2 - x).tensor() == Tensor<float>{1, 0});
  CHECK((1 / x).tensor() == Tensor<float>{1, 0.5f});
  Var<float> y = x;
  y *= x;
  y += x;
  y -= 3 * x;
  CHECK(y.tensor() == Tensor<float>{-1, 0});
  sum(y).backward();
  CHECK(x.gradient() == Tensor<float>{0, 2});
}
