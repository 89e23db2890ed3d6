#include <tapestry/autodiff/custom.hpp>

#include <cmath>

#include <doctest/doctest.h>
#include <xtensor/xmath.hpp>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;
using Vars = std::vector<V>;

namespace {

// Outputs a * b and a + b; keeps the product of all elements of a for no reason but to test the state.
CustomOperation<double, Tensor<double>> product_and_sum() {
  return {.name = "product_and_sum",
          .forward =
              [](const TensorViews<double>& x, Tensor<double>& state) {
                state = x[0];
                return std::vector<Tensor<double>>{x[0] * x[1], x[0] + x[1]};
              },
          .vjp =
              [](const TensorViews<double>& x, const TensorViews<double>&, const TensorViews<double>& g,
                 const Tensor<double>& state) {
                return std::vector<Tensor<double>>{g[0] * x[1] + g[1], g[0] * state + g[1]};
              },
          .vjp_in_operations =
              [](const Vars& x, const Vars&, const Vars& g) {
                return Vars{g[0] * x[1] + g[1], g[0] * x[0] + g[1]};
              }};
}

const Vars inputs = {V(Tensor<double>{0.5, -1.5, 2.0}), V(Tensor<double>{1.5, 0.2, -0.7})};

}  // namespace

TEST_CASE("custom: several outputs, saved state, all derivative modes") {
  const auto operation = product_and_sum();
  const Function<double> f = [&](const Vars& x) {
    const Vars y = operation(x);
    return y[0] * exp(y[1]);
  };
  CHECK_NOTHROW(check_gradients(f, inputs, {.order = 2}));
  // The array rule serves first order: it must agree with the one in operations.
  V a(inputs[0].tensor(), true), b(inputs[1].tensor(), true);
  sum(f({a, b})).backward();
  const auto g = grad(sum(f({a, b})), {a, b}, {.create_graph = true});
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(a.gradient()(i) == doctest::Approx(g[0].value()(i)).epsilon(1e-14));
    CHECK(b.gradient()(i) == doctest::Approx(g[1].value()(i)).epsilon(1e-14));
  }
}

TEST_CASE("custom: an unused output has gradient zero") {
  V a(inputs[0].tensor(), true), b(inputs[1].tensor(), true);
  sum(product_and_sum()({a, b})[1]).backward();
  CHECK(a.gradient()(1) == 1);
  CHECK(b.gradient()(2) == 1);
}

TEST_CASE("custom: without a rule in operations, higher orders are refused with the operation's name") {
  auto operation = product_and_sum();
  operation.vjp_in_operations = nullptr;
  V a(inputs[0].tensor(), true), b(inputs[1].tensor(), true);
  const V y = sum(operation({a, b})[0]);
  CHECK_THROWS_WITH_AS(
      grad(y, {a}, {.create_graph = true}),
      "product_and_sum: has no derivative rule in operations (vjp), which higher orders and forward mode need",
      GraphError);
  y.backward();
  CHECK(a.gradient()(0) == 1.5);
}

TEST_CASE("custom: a gradient of the wrong shape is refused") {
  auto operation = product_and_sum();
  operation.vjp = [](const TensorViews<double>&, const TensorViews<double>&, const TensorViews<double>&,
                     const Tensor<double>&) {
    return std::vector<Tensor<double>>{{1.0}, {1.0}};
  };
  V a(inputs[0].tensor(), true), b(inputs[1].tensor(), true);
  CHECK_THROWS_AS(sum(operation({a, b})[0]).backward(), ShapeError);
  CHECK_FALSE(a.has_gradient());
  (a * b).backward(Tensor<double>{1.0, 1.0, 1.0});
  CHECK(a.gradient()(0) == 1.5);
}

TEST_CASE("custom: surrogate gradients") {
  V x(Tensor<double>{0.2, 0.7}, true);
  const V y = straight_through(round(x), x);
  CHECK(y.value()(1) == 1);
  sum(y * y).backward();
  CHECK(x.gradient()(1) == 2);
  CHECK(x.gradient()(0) == 0);
}

TEST_CASE("custom: gradient clipping") {
  V x(Tensor<double>{3.0, 4.0}, true);
  sum(square(x)).backward();
  CHECK(clip_gradient_norm<double>({x}, 1.0) == doctest::Approx(10));
  CHECK(x.gradient()(1) == doctest::Approx(0.8));
  clip_gradient_value<double>({x}, 0.7);
  CHECK(x.gradient()(1) == 0.7);
}
