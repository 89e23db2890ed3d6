#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/free_energy.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/mean_field.hpp>

#include "prob/random_models.hpp"
#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;
using testing_models::normal_variables;

namespace {

/// A cycle with a table of three, in two examples, something observed.
FactorGraph<double> ring(const std::vector<Var<double>>& x) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {2, 2}, 3);
  graph.add_variables("b", {1}, 2);
  graph.add_unary("unary", a, x[0]);
  graph.add_factors("pairs", index_tensor({4, 2}, {0, 1, 1, 2, 2, 3, 3, 0}), x[1]);
  graph.add_factors("three", index_tensor({1, 3}, {0, 2, 4}), x[2]);
  graph.observe(1, 2);
  return graph;
}
std::vector<Var<double>> potentials() {
  return normal_variables({{2, 2, 2, 3}, {3, 3}, {1, 3, 3, 2}}, .6);
}

double entropy(const double* p, std::int64_t n) {
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i)
    if (p[i] > 0) total -= p[i] * std::log(p[i]);
  return total;
}

}  // namespace

TEST_CASE("Bethe's parts: at converged messages their sum is the estimate, whatever the counting numbers") {
  const auto graph = ring(potentials());
  const std::vector<std::vector<double>> weights = {{}, {1, .7, .6}, {1, 1, 1, 1, .5, .6, .7, .8, .9}, {.8, 1.2, 1.1}};
  for (const auto& w : weights) {
    const auto result =
        infer(graph, BeliefPropagation{.iterations = 2000, .tolerance = 1e-14, .damping = .3, .weights = w});
    REQUIRE(result.converged);
    const auto parts = bethe_parts(graph, result, w);
    for (std::int64_t b = 0; b < 2; ++b) {
      CHECK(parts.log_partition.data()[b] == doctest::Approx(result.log_partition.data()[b]).epsilon(1e-11));
      CHECK(parts.score.data()[b] + parts.entropy.data()[b] == doctest::Approx(parts.log_partition.data()[b]));
    }
  }
  const std::vector<double> w = {1, .6, .5};
  const auto reweighted = infer(graph, TreeReweighted{.iterations = 2000, .tolerance = 1e-14, .weights = w});
  const auto parts = bethe_parts(graph, reweighted, w);
  CHECK(parts.log_partition.data()[1] == doctest::Approx(reweighted.log_partition.data()[1]).epsilon(1e-11));
  const auto field = infer(graph, MeanField{.tolerance = 1e-13});
  CHECK(bethe_parts(graph, field).log_partition.data()[1] ==
        doctest::Approx(field.log_partition.data()[1]).epsilon(1e-11));
}

TEST_CASE("Bethe's parts: score and entropies are what enumeration gives on a tree") {
  std::mt19937_64 random(8);
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {2, 2}, 3);
  graph.add_factors("chain", chain_edges(graph.ids(a)), normal_variables({{3, 3, 3}})[0]);
  graph.observe(2, 1);
  const auto exact = infer(graph, JunctionTree{});
  const auto parts = bethe_parts(graph, exact);
  double score = 0, all = 0;
  for (const auto& states : testing_models::all_assignments(graph)) {
    const double own = testing_models::plain_score(graph, states), p = std::exp(own - exact.log_partition.item());
    score += p * own;
    all -= p * std::log(p);
  }
  CHECK(parts.score.item() == doctest::Approx(score).epsilon(1e-12));
  CHECK(parts.entropy.item() == doctest::Approx(all).epsilon(1e-12));
  REQUIRE(parts.variable_entropies[0].shape() == Shape{2, 2});
  REQUIRE(parts.factor_entropies[0].shape() == Shape{3});
  for (std::int64_t v = 0; v < 4; ++v)
    CHECK(parts.variable_entropies[0].data()[v] ==
          doctest::Approx(entropy(exact.variables[0].data() + 3 * v, 3)).epsilon(1e-12));
  for (std::int64_t f = 0; f < 3; ++f)
    CHECK(parts.factor_entropies[0].data()[f] ==
          doctest::Approx(entropy(exact.factors[0].data() + 9 * f, 9)).epsilon(1e-12));
}

TEST_CASE("Bethe's parts: what is impossible counts for nothing, in values and gradients") {
  auto x = normal_variables({{3, 2, 2}});
  x[0].mutable_value()(1, 0, 1) = -std::numeric_limits<double>::infinity();
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {4}, 2);
  graph.add_factors("chain", chain_edges(graph.ids(a)), x[0]);
  const auto exact = infer(graph, JunctionTree{});
  const auto parts = bethe_parts(graph, exact);
  CHECK(parts.log_partition.item() == doctest::Approx(exact.log_partition.item()).epsilon(1e-12));
  parts.score.backward();
  for (const double g : x[0].gradient()) CHECK(std::isfinite(g));
}

TEST_CASE("Bethe's parts: derivatives, and what they are not given") {
  CHECK_NOTHROW(check_gradients(
      [](const auto& x) {
        const auto graph = ring(x);
        const auto parts = bethe_parts(graph, infer(graph, BeliefPropagation{.iterations = 4, .tolerance = 0}));
        return sum(parts.log_partition) + sum(parts.entropy * parts.entropy) + sum(parts.variable_entropies[0]);
      },
      potentials(), {.forward_mode = false}));
  const auto graph = ring(potentials());
  const auto result = infer(graph, JunctionTree{});
  CHECK_THROWS_AS(bethe_parts(graph, infer(graph, JunctionTree{.factor_marginals = false})), GraphError);
  CHECK_THROWS_AS(bethe_parts(graph, result, {1, 1}), ShapeError);
  FactorGraph<double> parity;
  parity.add_variables("v", {3}, 2);
  parity.add_structured("odd", FactorKind::parity, index_tensor({1, 3}, {0, 1, 2}), normal_variables({{2}})[0]);
  CHECK_THROWS_AS(bethe_parts(parity, infer(parity, JunctionTree{})), GraphError);
}
