#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/graph/fixed_point.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/message_engine.hpp>
#include <tapestry/prob/inference/spanning_forests.hpp>

#include "prob/normal_numbers.hpp"
#include "prob/random_models.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

IndexTensor indices(const Shape& shape, const std::vector<std::int64_t>& values) {
  IndexTensor out = empty_tensor<std::int64_t>(shape);
  std::copy(values.begin(), values.end(), out.data());
  return out;
}

std::vector<Var<double>> potentials(std::initializer_list<Shape> shapes, double spread = 1) {
  std::vector<Var<double>> x;
  std::uint64_t seed = 40;
  for (const auto& shape : shapes) x.emplace_back(normal_numbers(shape, ++seed, spread), true);
  return x;
}

/// A tree with a table of three, and one of each structured kind.
FactorGraph<double> tree(const std::vector<Var<double>>& x) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {3}, 3);
  const auto b = graph.add_variables("b", {11}, 2);
  graph.add_unary("unary a", a, x[0]);
  graph.add_unary("unary b", b, x[1]);
  graph.add_factors("pair", chain_edges(graph.ids(a)), x[2]);
  graph.add_factors("triple", indices({1, 3}, {2, 3, 4}), x[3]);
  graph.add_structured("parity", FactorKind::parity, indices({1, 3}, {4, 5, 6}), x[4]);
  graph.add_structured("or", FactorKind::logic_or, indices({1, 3}, {6, 7, 8}), x[5]);
  graph.add_structured("and", FactorKind::logic_and, indices({1, 3}, {8, 9, 10}), x[6]);
  graph.add_structured("count", FactorKind::cardinality, indices({1, 3}, {10, 11, 12}), x[7]);
  graph.add_structured("one", FactorKind::at_most_one, indices({1, 2}, {12, 13}), x[8]);
  return graph;
}
std::vector<Var<double>> tree_potentials(bool batched) {
  return potentials(
      {batched ? Shape{2, 3, 3} : Shape{3, 3}, {11, 2}, {2, 3, 3}, {3, 2, 2}, {2}, {1, 2}, {2}, {4}, {3}});
}

FactorGraph<double> loop(const std::vector<Var<double>>& x) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {2, 3}, 3);
  graph.add_unary("unary", a, x[0]);
  for (const auto& edges : grid_edges(graph.ids(a))) graph.add_factors("edges", edges, x[1]);
  graph.add_factors("triple", indices({1, 3}, {0, 4, 2}), x[2]);
  return graph;
}
std::vector<Var<double>> loop_potentials(double spread = .7) {
  return potentials({{2, 3, 3}, {3, 3}, {3, 3, 3}}, spread);
}

void compare(const InferenceResult<double>& got, const InferenceResult<double>& expected, double tolerance) {
  for (std::int64_t b = 0; b < expected.log_partition.size(); ++b)
    CHECK(got.log_partition.data()[b] == doctest::Approx(expected.log_partition.data()[b]).epsilon(tolerance));
  const auto same = [&](const std::vector<Var<double>>& a, const std::vector<Var<double>>& b) {
    REQUIRE(a.size() == b.size());
    for (std::size_t g = 0; g < a.size(); ++g) {
      REQUIRE(a[g].shape() == b[g].shape());
      for (std::int64_t i = 0; i < a[g].size(); ++i) CHECK(std::abs(a[g].data()[i] - b[g].data()[i]) < tolerance);
    }
  };
  same(got.variables, expected.variables);
  same(got.factors, expected.factors);
}

}  // namespace

TEST_CASE("belief propagation is exact on trees of all kinds of factors, by any schedule") {
  for (const bool batched : {false, true}) {
    auto graph = tree(tree_potentials(batched));
    for (const bool evidence : {false, true}) {
      if (evidence) graph.observe({{1, 2}, {5, 1}, {11, 0}});
      const auto expected = infer(graph, JunctionTree{.maximum = true});
      for (const auto schedule :
           {Schedule::flooding, Schedule::sequential, Schedule::random, Schedule::residual, Schedule::tree}) {
        const BeliefPropagation options{.schedule = schedule, .gradient = GradientMode::likelihood};
        const auto result = infer(graph, options);
        CHECK(result.converged);
        compare(result, expected, 1e-11);
      }
      CHECK(infer(graph, BeliefPropagation{.schedule = Schedule::tree, .gradient = GradientMode::likelihood})
                .trace.iterations <= 3);
      const auto maximum = infer(graph, BeliefPropagation{.temperature = 0, .gradient = GradientMode::likelihood});
      for (std::int64_t b = 0; b < maximum.log_partition.size(); ++b) {
        CHECK(maximum.log_partition.data()[b] == doctest::Approx(expected.assignment_score.data()[b]).epsilon(1e-12));
        CHECK(maximum.assignment_score.data()[b] ==
              doctest::Approx(expected.assignment_score.data()[b]).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("gradients through unrolled iterations are those of the very computation") {
  for (const double damping : {0.0, 0.4}) {
    const auto mixed = [&](const FactorGraph<double>& graph, GradientMode mode, std::int64_t iterations) {
      const auto r = infer(
          graph, BeliefPropagation{
                     .iterations = iterations, .tolerance = 0, .damping = damping, .gradient = mode, .truncation = 2});
      return sum(r.log_partition) + sum(r.variables[0] * r.variables[0]) + sum(r.factors[2] * r.factors[2]);
    };
    check_gradients([&](const auto& x) { return mixed(loop(x), GradientMode::unrolled, 4); }, loop_potentials(),
                    {.forward_mode = false});
    check_gradients([&](const auto& x) { return mixed(tree(x), GradientMode::unrolled, 4); }, tree_potentials(true),
                    {.forward_mode = false});
    // Temperature and weights.
    check_gradients(
        [&](const auto& x) {
          auto graph = loop(x);
          graph.observe(1, 2);
          const auto r = infer(
              graph,
              BeliefPropagation{.iterations = 3, .damping = damping, .temperature = .6, .weights = {1, .6, .7, .8}});
          return r.log_partition + sum(r.variables[0] * r.variables[0]) + sum(r.factors[3] * r.factors[3]);
        },
        loop_potentials(), {.forward_mode = false});
  }
}

TEST_CASE("gradients through the fixed point are those of the converged result") {
  for (const auto schedule : {Schedule::flooding, Schedule::sequential, Schedule::residual})
    check_gradients(
        [&](const auto& x) {
          const auto r = infer(
              loop(x),
              BeliefPropagation{
                  .iterations = 2000, .tolerance = 1e-14, .schedule = schedule, .gradient = GradientMode::implicit});
          REQUIRE(r.converged);
          return r.log_partition + sum(r.variables[0] * r.variables[0]) + sum(r.factors[1] * r.factors[1]);
        },
        loop_potentials(.4), {.forward_mode = false});
  // At a fixed point the log-partition's gradient is the beliefs, messages taken as constants; long truncation agrees.
  for (const auto mode : {GradientMode::likelihood, GradientMode::truncated, GradientMode::unrolled}) {
    const auto x = loop_potentials(.4);
    const auto r = infer(loop(x), BeliefPropagation{.iterations = 500, .tolerance = 1e-13, .gradient = mode});
    REQUIRE(r.converged);
    r.log_partition.backward();
    for (std::int64_t i = 0; i < x[2].size(); ++i)
      CHECK(x[2].gradient().data()[i] == doctest::Approx(r.factors[3].data()[i]).epsilon(1e-9));
  }
}

TEST_CASE("implicit gradients: small cotangents lose nothing, and what did not converge is said") {
  for (const bool kernels : {true, false}) {
    CAPTURE(kernels);
    const auto build = [&](const std::vector<Var<double>>& x) {
      FactorGraph<double> graph;
      const auto a = graph.add_variables("a", {3, 4}, 3);
      graph.add_unary("unary", a, x[0]);
      for (const auto& edges : grid_edges(graph.ids(a))) graph.add_factors("edges", edges, x[1]);
      if (!kernels) graph.add_factors("triple", indices({1, 3}, {0, 4, 2}), x[2]);
      return graph;
    };
    const auto loss = [](const InferenceResult<double>& r) { return sum(r.variables[0] * r.variables[0]); };
    const auto x = potentials({{3, 4, 3}, {3, 3}, {3, 3, 3}}, .4);
    const auto good = infer(build(x), BeliefPropagation{.iterations = 2000, .gradient = GradientMode::implicit});
    REQUIRE(good.converged);
    const auto whole = grad(loss(good), {x[0], x[1]}, {.retain_graph = true});
    REQUIRE(good.adjoint != nullptr);
    CHECK(good.adjoint->converged);
    CHECK(good.adjoint->iterations > 3);
    const auto small = grad(loss(good) * 1e-9, {x[0], x[1]});
    for (std::size_t i = 0; i < 2; ++i)
      for (std::int64_t e = 0; e < whole[i].size(); ++e)
        CHECK(small[i].data()[e] * 1e9 == doctest::Approx(whole[i].data()[e]).epsilon(1e-9));
    // All repel all: messages go back and forth.
    auto wild = potentials({{6, 3}, {3, 3}, {3, 3, 3}}, .1);
    for (std::size_t k = 0; k < 3; ++k) wild[1].mutable_value()(k, k) = -4;
    const auto repel = [&] {
      FactorGraph<double> graph;
      const auto a = graph.add_variables("a", {6}, 3);
      graph.add_unary("unary", a, wild[0]);
      graph.add_factors("edges", complete_edges(graph.ids(a)), wild[1]);
      if (!kernels) graph.add_factors("triple", indices({1, 3}, {0, 4, 2}), wild[2]);
      return graph;
    };
    const BeliefPropagation options{.iterations = 50};
    auto implicit = options, unrolled = options;
    implicit.gradient = GradientMode::implicit;
    unrolled.gradient = GradientMode::unrolled;
    const auto bad = infer(repel(), implicit), reference = infer(repel(), unrolled);
    REQUIRE_FALSE(bad.converged);
    CHECK(bad.trace.oscillates);
    const auto given = grad(loss(bad), {wild[0], wild[1]}), expected = grad(loss(reference), {wild[0], wild[1]});
    CHECK_FALSE(bad.adjoint->converged);
    CHECK(bad.adjoint->message.find("did not converge") != std::string::npos);
    CHECK(bad.adjoint->iterations < 20);  // of 50 that were made: cut where the terms grew
    double largest = 0, most = 0;
    for (std::int64_t e = 0; e < given[0].size(); ++e) {
      largest = std::max(largest, std::abs(given[0].data()[e]));
      most = std::max(most, std::abs(expected[0].data()[e]));
    }
    CHECK(largest < 10 * most + 1);
    CHECK(reference.adjoint == nullptr);
  }
}

TEST_CASE("tree-reweighted belief propagation bounds the log-partition from above") {
  std::mt19937_64 random(8);
  int converged = 0;
  for (int i = 0; i < 10; ++i) {
    const auto model = testing_models::random_model(random, {.variables = 8, .factors = 14, .most_states = 3});
    const auto graph = factor_graph<double>(model).graph;
    const auto exact = infer(graph, JunctionTree{});
    const auto result = infer(graph, TreeReweighted{.iterations = 2000, .damping = .5});
    if (!result.converged) continue;
    ++converged;
    CHECK(result.kind == BoundKind::upper_bound);
    CHECK(result.log_partition.item() >= exact.log_partition.item() - 1e-6);
  }
  CHECK(converged >= 8);
}

TEST_CASE("weights of spanning forests") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {5}, 2);
  graph.add_unary("unary", a, Var<double>::zeros({2}));
  graph.add_factors("edges", complete_edges(graph.ids(a)), Var<double>::zeros({2, 2}));
  const auto weights = detail::spanning_forest_weights(*graph.structure(), 400, 3);
  double edges = 0;
  for (std::size_t f = 0; f < 15; ++f) {
    CHECK(weights[f] > 0);
    if (f < 5) CHECK(weights[f] == 1);
    if (f >= 5) edges += weights[f];
  }
  CHECK(edges == doctest::Approx(4));
}

TEST_CASE("impossible states make no NaN, and impossible evidence is said") {
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  Tensor<double> table = normal_numbers({3, 3}, 3);
  table(0, 1) = table(2, 2) = table(1, 1) = minus_infinity;
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {5}, 3);
  const Var<double> x(table, true), unary(normal_numbers({5, 3}, 4), true);
  graph.add_factors("edges", chain_edges(graph.ids(a)), x);
  graph.add_unary("unary", a, unary);
  const auto expected = infer(graph, JunctionTree{});
  const auto result = infer(graph, BeliefPropagation{});
  compare(result, expected, 1e-12);
  result.log_partition.backward();
  for (const double g : unary.gradient()) CHECK(std::isfinite(g));
  for (std::size_t i = 0; i < 9; ++i) CHECK(std::isfinite(x.gradient().data()[i]));
  CHECK(x.gradient()(1, 1) == 0);
  graph.observe({{1, 1}, {2, 1}});
  const auto impossible = infer(graph, BeliefPropagation{.gradient = GradientMode::likelihood});
  CHECK_FALSE(impossible.possible);
  CHECK(impossible.log_partition.item() == minus_infinity);
  for (const auto& group : impossible.variables)
    for (std::int64_t i = 0; i < group.size(); ++i) CHECK_FALSE(std::isnan(group.data()[i]));
}

TEST_CASE("potentials far apart leave the range of probabilities, not of logarithms") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {20}, 3);
  graph.add_factors("edges", chain_edges(graph.ids(a)), Var<double>(normal_numbers({19, 3, 3}, 3, 600)));
  graph.add_unary("unary", a, Var<double>(normal_numbers({20, 3}, 4, 600)));
  compare(infer(graph, BeliefPropagation{}), infer(graph, JunctionTree{}), 1e-9);
}

TEST_CASE("damped messages of states further apart than any two numbers make nothing impossible") {
  // With a triple, messages go one factor at a time; pairs alone have kernels.
  for (const bool triple : {false, true})
    for (const auto schedule : {Schedule::flooding, Schedule::sequential, Schedule::residual}) {
      CAPTURE(triple);
      FactorGraph<double> graph;
      const auto a = graph.add_variables("a", {6}, 3);
      const Var<double> pairs(normal_numbers({4, 3, 3}, 3, 300), true), unary(normal_numbers({6, 3}, 4, 300), true);
      graph.add_factors("pairs", tree_edges(graph.ids(a), {-1, 0, 0, 1, 1, -1}), pairs);
      graph.add_unary("unary", a, unary);
      if (triple)
        graph.add_factors("triple", indices({1, 3}, {2, 3, 5}), Var<double>(normal_numbers({3, 3, 3}, 5, 300)));
      // Long enough that what the first messages were has left a double's range.
      const auto expected = infer(graph, JunctionTree{});
      for (const auto mode : {GradientMode::likelihood, GradientMode::unrolled}) {
        const auto result = infer(
            graph, BeliefPropagation{
                       .iterations = 2500, .tolerance = 0, .damping = .3, .schedule = schedule, .gradient = mode});
        CHECK(result.possible);
        compare(result, expected, 1e-9);
        for (const bool create_graph : {false, true}) {
          if (create_graph && (mode == GradientMode::likelihood || schedule != Schedule::flooding)) continue;
          const auto gradient =
              grad(sum(result.log_partition), {pairs}, {.create_graph = create_graph, .retain_graph = true});
          for (std::int64_t i = 0; i < pairs.size(); ++i)
            CHECK(std::abs(gradient[0].data()[i] - expected.factors[0].data()[i]) < 1e-9);
        }
      }
    }
}

TEST_CASE("a damped message is not done when it was renewed once: residual updates of one factor") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {2}, 3);
  graph.add_unary("unary", a, Var<double>(normal_numbers({2, 3}, 3)));
  graph.add_factors("edge", chain_edges(graph.ids(a)), Var<double>(normal_numbers({3, 3}, 4)));
  const auto result = infer(graph, BeliefPropagation{.iterations = 200, .damping = .5, .schedule = Schedule::residual});
  CHECK(result.converged);
  compare(result, infer(graph, JunctionTree{}), 1e-7);
}

TEST_CASE("what belief propagation is not given") {
  const auto graph = loop(loop_potentials());
  CHECK_THROWS_AS(infer(graph, BeliefPropagation{.damping = 1}), NumericalError);
  CHECK_THROWS_AS(infer(graph, BeliefPropagation{.temperature = -1}), NumericalError);
  CHECK_THROWS_AS(infer(graph, BeliefPropagation{.weights = {1, 1}}), ShapeError);
  CHECK_THROWS_AS(infer(graph, BeliefPropagation{.weights = {1, 0, 1, 1}}), NumericalError);
}
