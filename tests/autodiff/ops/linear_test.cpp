#include <tapestry/autodiff/ops/linear.hpp>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {
using V = Var<double>;
using Vars = std::vector<V>;

V composed(const Vars& v, Activation activation) {
  const V z = matmul(v[0], v[1]) + v[2];
  switch (activation) {
    case Activation::relu:
      return relu(z);
    case Activation::sigmoid:
      return sigmoid(z);
    case Activation::tanh:
      return tanh(z);
    case Activation::softplus:
      return softplus(z);
    default:
      return z;
  }
}
}  // namespace

TEST_CASE("linear: value and gradients are those of the composition, in one chunk and in many") {
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh, Activation::softplus})
    for (const auto& [x, out] : std::vector<std::pair<Shape, std::int64_t>>{{{3, 4}, 5},
                                                                            {{4}, 5},
                                                                            {{2, 3, 4}, 1},
                                                                            {{700, 3}, 300},
                                                                            {{3, 2}, 3000},
                                                                            {{0, 4}, 3},
                                                                            {{3, 0}, 2},
                                                                            {{3, 4}, 0}}) {
      const Shape shape = x;
      CAPTURE(to_string(shape));
      const std::vector<Shape> shapes{x, {x.back(), out}, {out}};
      Vars v{V(normal_values(x, 1), true), V(normal_values(shapes[1], 2), true), V(normal_values(shapes[2], 3), true)};
      const V y = linear(v[0], v[1], v[2], activation), expected = composed(v, activation);
      check_close(y, expected, 1e-12);
      const V seed(normal_values(y.shape(), 4));
      const auto g = grad(y, v, seed, {.retain_graph = true}), h = grad(expected, v, seed);
      for (std::size_t i = 0; i < 3; ++i) check_close(g[i], h[i], 1e-10);
      const auto rule = grad(y, v, seed, {.create_graph = true});
      for (std::size_t i = 0; i < 3; ++i) check_close(g[i], rule[i], 1e-10);
      const V plain = linear(v[0], v[1], activation), product = composed({v[0], v[1], V(0.0)}, activation);
      check_close(plain, product, 1e-12);
      const auto without = grad(plain, {v[0], v[1]}, seed), as_composed = grad(product, {v[0], v[1]}, seed);
      for (const std::size_t i : {0, 1}) check_close(without[i], as_composed[i], 1e-10);
    }
}

TEST_CASE("linear: only what is asked for") {
  const V x(normal_values({3, 4}, 1)), w(normal_values({4, 2}, 2));
  V b(normal_values({2}, 3), true);
  const V y = linear(x, w, b, Activation::tanh);
  const V g = grad(y, {b}, V::ones({3, 2}))[0];
  for (const int j : {0, 1}) {
    double expected = 0;
    for (const int i : {0, 1, 2}) expected += 1 - y.data()[2 * i + j] * y.data()[2 * i + j];
    CHECK(g.data()[j] == doctest::Approx(expected).epsilon(1e-14));
  }
}

TEST_CASE("linear: errors") {
  const V x = V::zeros({2, 3}), w = V::zeros({4, 5});
  CHECK_THROWS_WITH_AS(linear(x, w, V::zeros({5})), "linear: inner dimensions differ: [2, 3] x [4, 5]", ShapeError);
  CHECK_THROWS_WITH_AS(linear(x, w), "linear: inner dimensions differ: [2, 3] x [4, 5]", ShapeError);
  CHECK_THROWS_WITH_AS(linear(V::zeros({2, 4}), w, V::zeros({4})),
                       "linear: a bias of shape [4] does not fit a weight [4, 5]", ShapeError);
  CHECK_THROWS_AS(linear(V(1.0), w, V::zeros({5})), ShapeError);
}
