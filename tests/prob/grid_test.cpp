#include <tapestry/prob/grid.hpp>

#include <cmath>
#include <limits>
#include <random>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/pairwise.hpp>

using namespace tapestry;

namespace {

Var<double> normal(const Shape& shape, unsigned seed) {
  std::mt19937_64 random(seed);
  Tensor<double> x = empty_tensor<double>(shape);
  for (double& v : x) v = std::normal_distribution<double>()(random);
  return variable(std::move(x));
}

}  // namespace

TEST_CASE("grid: gradients of unrolled belief propagation and mean field on the tape") {
  const CheckGradientsOptions first_order{.forward_mode = false};
  for (const GridLayout layout : {GridLayout::states_last, GridLayout::states_first}) {
    const Shape shape = layout == GridLayout::states_last ? Shape{2, 3, 4, 3} : Shape{2, 3, 3, 4};
    const auto weights = normal(shape, 9);
    CHECK_NOTHROW(check_gradients(
        [&](const std::vector<Var<double>>& x) {
          return sum(weights * exp(grid_belief_propagation(x[0], x[1], x[2], {4, 0.2}, layout)));
        },
        {normal(shape, 1), normal({3, 3}, 2), normal({3, 3}, 3)}, first_order));
    for (const Shape& compatibility : {Shape{3, 3}, Shape{2, 3, 3}, Shape{4, 3, 3}})
      CHECK_NOTHROW(check_gradients(
          [&](const std::vector<Var<double>>& x) {
            return sum(weights * exp(grid_mean_field(x[0], x[1], {3, 0.1}, layout)));
          },
          {normal(shape, 4), normal(compatibility, 5)}, first_order));
  }
}

TEST_CASE("grid: gradients of mean field are added to those that are there, of one variable in both places too") {
  const auto weights = normal({4, 3, 3}, 9), batch = normal({2, 4, 3, 3}, 10);
  CHECK_NOTHROW(check_gradients(
      [&](const std::vector<Var<double>>& x) {
        return sum(square(x[0])) + sum(weights * exp(grid_mean_field(x[0], x[0], {3, 0})));
      },
      {normal({4, 3, 3}, 4)}, {.forward_mode = false}));
  CHECK_NOTHROW(check_gradients(
      [&](const std::vector<Var<double>>& x) {
        return sum(batch * exp(grid_mean_field(x[0], x[1], {3, 0}, GridLayout::states_first))) + sum(exp(x[0]));
      },
      {normal({2, 4, 3, 3}, 4), normal({4, 4}, 5)}, {.forward_mode = false}));
}

TEST_CASE("grid: potentials too wide for probabilities take the general path, without a seam") {
  // Just within and just beyond the widest range of float.
  for (const bool forbidden : {false, true}) {
    const auto unary = normal({3, 4, 2}, 1);
    auto horizontal = normal({2, 2}, 2), vertical = normal({2, 2}, 3);
    horizontal.mutable_data()[1] = forbidden ? -std::numeric_limits<double>::infinity() : 40;
    const auto to_float = [](const Var<double>& x) { return Var<float>(Tensor<float>(x.tensor()), true); };
    auto u = to_float(unary), h = to_float(horizontal), v = to_float(vertical);
    const auto expected = exp(grid_belief_propagation(unary, horizontal, vertical));
    const auto actual = exp(grid_belief_propagation(u, h, v));
    sum(square(expected)).backward();
    sum(square(actual)).backward();
    for (int n = 0; n < 24; ++n) {
      CHECK(static_cast<double>(actual.data()[n]) == doctest::Approx(expected.data()[n]).epsilon(1e-4));
      CHECK(std::abs(static_cast<double>(u.gradient().data()[n]) - unary.gradient().data()[n]) < 1e-4);
    }
    for (int n = 0; n < 4; ++n)
      CHECK(std::abs(static_cast<double>(h.gradient().data()[n]) - horizontal.gradient().data()[n]) < 1e-4);
  }
}

TEST_CASE("grid: bad input is refused") {
  const auto u = normal({3, 4, 2}, 1), square = normal({2, 2}, 1), wrong = normal({3, 2}, 1);
  CHECK_THROWS_AS(grid_belief_propagation(u, square, wrong), ShapeError);
  CHECK_THROWS_AS(grid_belief_propagation(square, square, square), ShapeError);
  CHECK_THROWS_AS(grid_belief_propagation(u, square, square, {-1, 0}), Error);
  CHECK_THROWS_AS(grid_mean_field(u, square, {3, 1.0}), Error);
  CHECK_THROWS_AS(grid_mean_field(u, normal({3, 2, 2}, 1)), ShapeError);
  auto infinite = normal({2, 2}, 1);
  infinite.mutable_data()[0] = -std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(grid_mean_field(u, infinite), NumericalError);
}

TEST_CASE("pairwise factors: gradients on the tape, and belief propagation is exact on a tree") {
  const PairwiseFactors factors(4, Indices{0, 2, 1}, Indices{1, 1, 3});
  const auto weights = normal({2, 4, 3}, 9);
  const CheckGradientsOptions first_order{.forward_mode = false};
  for (const Shape& shape : {Shape{3, 3, 3}, Shape{1, 3, 3}, Shape{2, 3, 3, 3}})
    CHECK_NOTHROW(check_gradients(
        [&](const std::vector<Var<double>>& x) {
          return sum(weights * exp(pairwise_belief_propagation(factors, x[0], x[1], {3, 0.1})));
        },
        {normal({2, 4, 3}, 1), normal(shape, 2)}, first_order));
  const auto unary = normal({4, 3}, 3), potentials = normal({2, 3, 3}, 4);
  const auto marginals = exp(pairwise_belief_propagation(factors, unary, potentials, {}, Indices{1, 0, 1}));
  double expected[12] = {}, total = 0;
  for (int a = 0; a < 81; ++a) {
    const int x[] = {a % 3, a / 3 % 3, a / 9 % 3, a / 27};
    double score = 0;
    for (int v = 0; v < 4; ++v) score += unary.data()[v * 3 + x[v]];
    score += potentials.data()[9 + x[0] * 3 + x[1]] + potentials.data()[x[2] * 3 + x[1]] +
             potentials.data()[9 + x[1] * 3 + x[3]];
    total += std::exp(score);
    for (int v = 0; v < 4; ++v) expected[v * 3 + x[v]] += std::exp(score);
  }
  for (int n = 0; n < 12; ++n) CHECK(marginals.data()[n] == doctest::Approx(expected[n] / total).epsilon(1e-12));
  CHECK_THROWS_AS(PairwiseFactors(3, Indices{0}, Indices{3}), IndexError);
  CHECK_THROWS_AS(PairwiseFactors(3, Indices{0}, Indices{0}), IndexError);
  CHECK_THROWS_AS(PairwiseFactors(3, Indices{0, 1}, Indices{2}), ShapeError);
  CHECK_THROWS_AS(pairwise_belief_propagation(factors, unary, potentials), ShapeError);
  CHECK_THROWS_AS(pairwise_belief_propagation(factors, unary, potentials, {}, Indices{0, 1, 2}), IndexError);
}
