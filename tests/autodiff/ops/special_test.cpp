#include <tapestry/autodiff/ops/special.hpp>

#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

TEST_CASE("special: powers of zero and xlogy at zero have finite gradients, in the rules in operations too") {
  const double inf = std::numeric_limits<double>::infinity();
  const V zero(Tensor<double>{0, 0}, true), exponent(Tensor<double>{2, 1}, true);
  for (const bool rule : {false, true}) {
    const auto power = grad(sum(pow(zero, exponent)), {zero, exponent}, {.create_graph = rule});
    CHECK(power[0].tensor() == Tensor<double>{0, 1});
    CHECK(power[1].tensor() == Tensor<double>{0, 0});
    const auto weighted = grad(sum(xlogy(zero, exponent)), {zero, exponent}, {.create_graph = rule});
    CHECK(weighted[0].value()(1) == 0);
    CHECK(weighted[1].tensor() == Tensor<double>{0, 0});
  }
  CHECK(xlogy(zero, zero).tensor() == Tensor<double>{0, 0});
  CHECK(logaddexp(V(-inf), V(-inf)).item() == -inf);
}
