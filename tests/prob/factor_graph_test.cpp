#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <set>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/exact.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/mean_field.hpp>

#include "prob/normal_numbers.hpp"
#include "prob/random_models.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

std::vector<std::int64_t> list(const IndexTensor& t) {
  return {t.data(), t.data() + t.size()};
}

IndexTensor indices(const Shape& shape, const std::vector<std::int64_t>& values) {
  IndexTensor out = empty_tensor<std::int64_t>(shape);
  std::copy(values.begin(), values.end(), out.data());
  return out;
}

}  // namespace

TEST_CASE("edges of chains, trees, grids, complete and bipartite graphs") {
  const IndexTensor ids = indices({4}, {3, 4, 5, 6});
  CHECK(list(chain_edges(ids)) == std::vector<std::int64_t>{3, 4, 4, 5, 5, 6});
  CHECK(chain_edges(indices({0}, {})).size() == 0);
  CHECK(list(tree_edges(ids, {-1, 0, 3, 0})) == std::vector<std::int64_t>{3, 4, 6, 5, 3, 6});
  CHECK_THROWS_AS(tree_edges(ids, {1, 2, 0, -1}), GraphError);
  CHECK_THROWS_AS(tree_edges(ids, {-1, 4, 0, 0}), IndexError);
  CHECK(list(complete_edges(indices({3}, {0, 1, 2}))) == std::vector<std::int64_t>{0, 1, 0, 2, 1, 2});
  CHECK(list(bipartite_edges(indices({2}, {0, 1}), indices({2}, {5, 6}))) ==
        std::vector<std::int64_t>{0, 5, 0, 6, 1, 5, 1, 6});
  CHECK(list(concatenate_edges({chain_edges(ids), chain_edges(ids)})).size() == 12);
  CHECK_THROWS_AS(concatenate_edges({ids}), ShapeError);
  CHECK_THROWS_AS(concatenate_edges({chain_edges(ids), indices({2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7})}), ShapeError);
  CHECK_THROWS_AS(concatenate_edges({chain_edges(ids), indices({1, 3}, {0, 1, 2})}), ShapeError);

  for (const Shape& shape : {Shape{3, 4}, Shape{2, 3, 4}, Shape{5}, Shape{1, 4}, Shape{0, 3}}) {
    IndexTensor grid = empty_tensor<std::int64_t>(shape);
    for (std::int64_t i = 0; i < shape.elements(); ++i) grid.data()[i] = i + 7;
    const auto coordinates = [&](std::int64_t id) {
      std::vector<std::int64_t> out(shape.size());
      std::int64_t rest = id - 7;
      for (int axis = shape.rank(); axis-- > 0; rest /= shape[axis])
        out[static_cast<std::size_t>(axis)] = rest % shape[axis];
      return out;
    };
    for (const bool diagonal : {false, true}) {
      std::set<std::pair<std::int64_t, std::int64_t>> expected, got;
      for (std::int64_t a = 7; a < shape.elements() + 7; ++a)
        for (std::int64_t b = a + 1; b < shape.elements() + 7; ++b) {
          std::int64_t total = 0, most = 0;
          for (std::size_t i = 0; i < shape.size(); ++i) {
            const std::int64_t d = std::abs(coordinates(a)[i] - coordinates(b)[i]);
            total += d;
            most = std::max(most, d);
          }
          if (diagonal ? most == 1 : total == 1) expected.insert({a, b});
        }
      std::size_t edges = 0;
      for (const auto& direction : grid_edges(grid, diagonal)) {
        edges += direction.shape()[0];
        for (std::size_t e = 0; e < direction.shape()[0]; ++e)
          got.insert({std::min(direction(e, 0), direction(e, 1)), std::max(direction(e, 0), direction(e, 1))});
      }
      CHECK(got == expected);
      CHECK(edges == expected.size());
    }
  }
}

TEST_CASE("scores of assignments are those of the model") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 10; ++i) {
    const auto model = testing_models::random_model(random, {.variables = 6, .factors = 9, .zeros = .1});
    const auto built = factor_graph<double>(model);
    for (int k = 0; k < 10; ++k) {
      std::vector<std::int64_t> states(6);
      IndexTensor assignment = empty_tensor<std::int64_t>({6});
      for (std::size_t v = 0; v < 6; ++v) {
        states[v] = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(model.cardinalities[v]));
        assignment(static_cast<std::size_t>(built.variable[v])) = states[v];
      }
      const double expected = log_score(model, states), got = built.graph.score(assignment).item();
      if (std::isinf(expected))
        CHECK(got == expected);
      else
        CHECK(got == doctest::Approx(expected).epsilon(1e-13));
    }
  }
}

TEST_CASE("scores with batches, and their derivatives") {
  const auto build = [](const std::vector<Var<double>>& x) {
    FactorGraph<double> graph;
    const auto a = graph.add_variables("a", {2, 2}, 3);
    const auto b = graph.add_variables("b", {3}, 2);
    graph.add_unary("unary", a, x[0]);
    graph.add_potts("potts", chain_edges(graph.ids(a)), x[1]);
    graph.add_symmetric("symmetric", chain_edges(graph.ids(a)), x[2]);
    graph.add_factors("mixed", bipartite_edges(graph.ids(a), graph.ids(b)), x[3]);
    graph.add_structured("count", FactorKind::cardinality, indices({1, 3}, {4, 5, 6}), x[4]);
    graph.add_structured("one", FactorKind::at_most_one, indices({1, 3}, {4, 5, 6}), x[5]);
    return graph;
  };
  std::vector<Var<double>> x;
  std::uint64_t seed = 0;
  for (const Shape& shape : {Shape{2, 2, 2, 3}, Shape{}, Shape{2, 1, 6}, Shape{3, 2}, Shape{1, 4}, Shape{4}})
    x.emplace_back(normal_numbers(shape, ++seed), true);
  const auto graph = build(x);
  CHECK(graph.batch() == 2);
  const IndexTensor assignment = indices({2, 7}, {0, 1, 1, 2, 0, 1, 0, 2, 2, 0, 0, 0, 0, 0});
  const auto score = graph.score(assignment);
  CHECK(score.shape() == Shape{2});
  // By hand, for the first: unary, Potts (1,1 agree), symmetric, mixed, one of three.
  const auto packed = x[2].value();
  double expected = 0;
  const std::int64_t states[] = {0, 1, 1, 2}, bits[] = {0, 1, 0};
  for (std::size_t v = 0; v < 4; ++v) {
    expected += x[0].data()[v * 3 + static_cast<std::size_t>(states[v])];
    for (const auto bit : bits) expected += x[3].data()[states[v] * 2 + bit];
  }
  expected += x[1].item() + packed(0, 0, 1) + packed(0, 0, 3) + packed(0, 0, 4);
  expected += x[4].data()[1] + x[5].data()[2];
  CHECK(score.value()(0) == doctest::Approx(expected));
  check_gradients([&](const std::vector<Var<double>>& v) { return build(v).score(assignment); }, x, {.order = 2});

  // Two of an at-most-one factor are impossible; so is what evidence excludes.
  CHECK(std::isinf(graph.score(indices({7}, {0, 0, 0, 0, 1, 1, 0})).value()(1)));
  auto observed = graph;
  observed.observe(0, 1);
  CHECK(std::isinf(observed.score(assignment).value()(0)));
  CHECK(std::isfinite(graph.score(assignment).value()(0)));
  CHECK_THROWS_AS(observed.observe(0, 2), IndexError);
  CHECK_THROWS_AS(observed.observe(0, 3), IndexError);
  CHECK_THROWS_AS(observed.observe(7, 0), IndexError);
  CHECK_THROWS_AS(graph.score(indices({7}, {0, 0, 0, 3, 1, 1, 0})), IndexError);
  CHECK_THROWS_AS(graph.score(indices({6}, {0, 0, 0, 0, 1, 1})), ShapeError);
}

TEST_CASE("what a structured factor's potential depends on") {
  const auto entry = [](FactorKind kind, const std::vector<std::int64_t>& states) {
    const auto n = static_cast<std::int64_t>(states.size());
    FactorStructure group{"", kind, Indices(empty_tensor<std::int64_t>({1, n})),
                          std::vector<std::int64_t>(states.size(), 2)};
    return group.entry(states.data());
  };
  CHECK(entry(FactorKind::parity, {1, 0, 1}) == 0);
  CHECK(entry(FactorKind::parity, {1, 1, 1}) == 1);
  CHECK(entry(FactorKind::logic_or, {0, 1, 1}) == 0);
  CHECK(entry(FactorKind::logic_or, {0, 0, 1}) == 1);
  CHECK(entry(FactorKind::logic_or, {0, 0, 0}) == 0);
  CHECK(entry(FactorKind::logic_and, {1, 1, 1}) == 0);
  CHECK(entry(FactorKind::logic_and, {1, 0, 1}) == 1);
  CHECK(entry(FactorKind::logic_and, {1, 0, 0}) == 0);
  CHECK(entry(FactorKind::cardinality, {1, 0, 1}) == 2);
  CHECK(entry(FactorKind::at_most_one, {0, 0, 1}) == 3);
  CHECK(entry(FactorKind::at_most_one, {0, 0, 0}) == 0);
  CHECK(entry(FactorKind::at_most_one, {1, 0, 1}) == -1);
}

TEST_CASE("malformed graphs are refused and left as they were") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {3}, 2);
  const auto b = graph.add_variables("b", {2}, 3);
  CHECK_THROWS_AS(graph.add_variables("c", {2}, 0), ShapeError);
  CHECK_THROWS_AS(graph.add_factors("x", indices({1, 2}, {0, 5}), Var<double>::zeros({2, 2})), IndexError);
  CHECK_THROWS_AS(graph.add_factors("x", indices({1, 2}, {1, 1}), Var<double>::zeros({2, 2})), IndexError);
  CHECK_THROWS_AS(graph.add_factors("x", indices({2, 2}, {0, 1, 0, 3}), Var<double>::zeros({2, 2})), ShapeError);
  CHECK_THROWS_AS(graph.add_factors("x", indices({2, 2}, {0, 1, 1, 2}), Var<double>::zeros({3, 2, 2})), ShapeError);
  CHECK_THROWS_AS(graph.add_factors("x", indices({2}, {0, 1}), Var<double>::zeros({2, 2})), ShapeError);
  CHECK_THROWS_AS(graph.add_unary("x", b, Var<double>::zeros({2})), ShapeError);
  CHECK_THROWS_AS(graph.add_unary("x", 2, Var<double>::zeros({2})), IndexError);
  CHECK_THROWS_AS(graph.add_structured("x", FactorKind::parity, indices({1, 2}, {0, 3}), Var<double>::zeros({2})),
                  ShapeError);
  CHECK(graph.factor_groups().empty());
  CHECK(graph.variable_groups().size() == 2);
  graph.observe(0, 1);
  CHECK_THROWS_AS(graph.observe({{1, 1}, {2, 9}}), IndexError);
  CHECK_THROWS_AS(graph.observe({{1, 1}, {0, 0}}), IndexError);
  CHECK(graph.evidence().size() == 1);
  graph.add_unary("u", a, Var<double>::zeros({5, 3, 2}));
  CHECK_THROWS_AS(graph.set_potentials(0, Var<double>::zeros({3})), ShapeError);
  CHECK(graph.batch() == 5);
  graph.add_unary("v", a, Var<double>::zeros({4, 3, 2}));
  CHECK_THROWS_AS(graph.batch(), ShapeError);
  CHECK_THROWS_AS(bayesian_network({2, 2}, {{1}, {0}}, {{.5, .5, .5, .5}, {.5, .5, .5, .5}}), NumericalError);
  CHECK_THROWS_AS(bayesian_network({2}, {{}}, {{.5, .4}}), NumericalError);
  CHECK_THROWS_WITH_AS(bayesian_network({2, 2}, {{}}, {{.5, .5}}), doctest::Contains("1 lists of parents"), ShapeError);
}

TEST_CASE("a grid of a million variables is built at once") {
  const auto start = std::chrono::steady_clock::now();
  FactorGraph<float> graph;
  const auto pixels = graph.add_variables("pixels", {1000, 1000}, 4);
  graph.add_unary("unary", pixels, Var<float>::zeros({4}));
  for (const auto& edges : grid_edges(graph.ids(pixels)))
    graph.add_factors("pairwise", edges, Var<float>::zeros({4, 4}));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CHECK(graph.factor_groups()[1].factors() + graph.factor_groups()[2].factors() == 2 * 999 * 1000);
  CHECK(seconds < 1);
}

TEST_CASE("tables over more variables than a tensor has axes") {
  DiscreteModel model;
  model.cardinalities.assign(17, 2);
  model.scopes = {{}, {16}};
  for (std::int64_t v = 0; v < 17; ++v) model.scopes[0].push_back(v);
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> uniform(.5, 2);
  for (const std::size_t size : {std::size_t{1} << 17, std::size_t{2}}) {
    model.tables.emplace_back(size);
    for (double& x : model.tables.back()) x = uniform(random);
  }
  const auto graph = factor_graph<double>(model).graph;
  const auto exact = exact_marginals(model, {});
  const auto propagated = infer(graph, BeliefPropagation{.iterations = 2});
  const auto tree = infer(graph, JunctionTree{});
  CHECK(tree.log_partition.item() == doctest::Approx(exact.log_partition).epsilon(1e-12));
  CHECK(propagated.log_partition.item() == doctest::Approx(exact.log_partition).epsilon(1e-12));
  for (std::int64_t v = 0; v < 17; ++v) {
    CHECK(tree.variables[0].data()[2 * v] == doctest::Approx(exact.variables[static_cast<std::size_t>(v)][0]));
    CHECK(std::abs(propagated.variables[0].data()[2 * v] - exact.variables[static_cast<std::size_t>(v)][0]) < 1e-12);
  }
  CHECK_THROWS_AS(infer(graph, MeanField{.update = MeanFieldUpdate::parallel}), GraphError);
}
