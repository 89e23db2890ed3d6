#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/gibbs_sampler.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>

#include "prob/random_models.hpp"

using namespace tapestry;

namespace {

double negative_entropy(const double* p, std::int64_t n) {
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i)
    if (p[i] > 0) total += p[i] * std::log(p[i]);
  return total;
}

/// Bethe's estimate at given marginals.
double bethe(const FactorGraph<double>& graph, const InferenceResult<double>& marginals) {
  double total = 0;
  std::vector<double> count(static_cast<std::size_t>(graph.variables()), 1.0);
  for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
    const auto& group = graph.factor_groups()[g];
    const double* p = marginals.factors[g].data();
    const double* theta = graph.potentials(static_cast<std::int64_t>(g)).data();
    for (std::int64_t i = 0; i < marginals.factors[g].size(); ++i) total += p[i] * theta[i];
    total -= negative_entropy(p, marginals.factors[g].size());
    for (std::int64_t i = 0; i < group.scopes.size(); ++i) count[static_cast<std::size_t>(group.scopes[i])] -= 1;
  }
  for (std::size_t g = 0; g < graph.variable_groups().size(); ++g) {
    const auto& group = graph.variable_groups()[g];
    for (std::int64_t v = 0; v < group.size(); ++v)
      total -= count[static_cast<std::size_t>(group.first + v)] *
               negative_entropy(marginals.variables[g].data() + v * group.cardinality, group.cardinality);
  }
  return total;
}

/// How far sampled marginals are from exact ones, in standard errors.
struct Agreement {
  double squares = 0;
  int count = 0;
  void add(const InferenceResult<double>& exact, const InferenceResult<double>& sampled) {
    for (std::size_t g = 0; g < exact.variables.size(); ++g)
      for (std::int64_t s = 0; s < exact.variables[g].size(); ++s) {
        const double difference = sampled.variables[g].data()[s] - exact.variables[g].data()[s];
        const double error = sampled.standard_errors[g].data()[s];
        CHECK(std::abs(difference) < 5 * error + 1e-9);
        CHECK(error < .02);
        if (error > 1e-9) {
          squares += difference * difference / (error * error);
          ++count;
        }
      }
  }
  /// The errors are of the right size, not only large enough.
  void check() const {
    REQUIRE(count > 0);
    CHECK(squares / count > .4);
    CHECK(squares / count < 2.2);
  }
};

}  // namespace

TEST_CASE("Gibbs marginals agree with exact ones to their standard errors") {
  std::mt19937_64 random(4);
  Agreement agreement;
  for (int i = 0; i < 6; ++i) {
    const auto model = testing_models::random_model(random, {.variables = 7, .factors = 10, .most_states = 3});
    auto built = factor_graph<double>(model);
    if (i % 2 == 1) built.graph.observe(3, 0);
    const auto exact = infer(built.graph, JunctionTree{.maximum = true});
    const auto result = infer(built.graph, Gibbs{.iterations = 4000, .burn_in = 200, .seed = 5});
    CHECK(result.converged);
    CHECK(std::abs(result.log_partition.item() - bethe(built.graph, exact)) < .1);
    CHECK(result.assignment_score.item() == doctest::Approx(exact.assignment_score.item()).epsilon(1e-9));
    agreement.add(exact, result);
  }
  agreement.check();
}

TEST_CASE("the same seed gives the same samples") {
  std::mt19937_64 random(5);
  const auto graph = factor_graph<double>(testing_models::random_model(random)).graph;
  const auto run = [&](std::uint64_t seed) {
    return infer(graph, Gibbs{.iterations = 50, .burn_in = 5, .seed = seed});
  };
  CHECK(run(1).variables[1].tensor() == run(1).variables[1].tensor());
  CHECK(run(1).variables[1].tensor() != run(2).variables[1].tensor());
  CHECK_THROWS_AS(infer(graph, Gibbs{.iterations = 0}), NumericalError);
}

TEST_CASE("a possible start is found where factors forbid most states") {
  // Eight queens: one in each row, on different columns and diagonals.
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  DiscreteModel queens;
  queens.cardinalities.assign(8, 8);
  for (std::int64_t i = 0; i < 8; ++i)
    for (std::int64_t j = i + 1; j < 8; ++j) {
      queens.scopes.push_back({i, j});
      auto& table = queens.tables.emplace_back();
      for (std::int64_t a = 0; a < 8; ++a)
        for (std::int64_t b = 0; b < 8; ++b) table.push_back(a != b && std::abs(a - b) != j - i ? 1 : 0);
    }
  const auto graph = factor_graph<double>(queens).graph;
  const auto result = infer(graph, Gibbs{.iterations = 10, .burn_in = 0});
  CHECK(result.converged);
  CHECK(result.assignment_score.item() == 0);
  auto impossible = graph;
  impossible.observe({{0, 0}, {1, 1}});
  const auto none = infer(impossible, Gibbs{.iterations = 10, .burn_in = 0, .search = 1000});
  CHECK_FALSE(none.converged);
  CHECK(none.log_partition.item() == minus_infinity);
}

TEST_CASE("Gibbs by colours, by trees and in blocks: marginals within their standard errors") {
  std::mt19937_64 random(14);
  Gibbs ways[] = {{.blocks = GibbsBlocks::chromatic},
                  {.blocks = GibbsBlocks::trees},
                  {.blocks = GibbsBlocks::blocked, .block_size = 3},
                  {.blocks = GibbsBlocks::blocked, .given = {{0, 1, 2, 3}, {3, 6, 5}}}};  // 4 is drawn alone
  for (Gibbs& options : ways) {
    options.iterations = 4000;
    options.burn_in = 200;
    options.seed = 5;
    CAPTURE(static_cast<int>(options.blocks));
    Agreement agreement;
    for (int i = 0; i < 6; ++i) {
      const auto model = testing_models::random_model(random, {.variables = 7, .factors = 10, .most_states = 3});
      auto built = factor_graph<double>(model);
      if (i % 2 == 1) built.graph.observe(3, 0);
      const auto exact = infer(built.graph, JunctionTree{});
      agreement.add(exact, infer(built.graph, options));
    }
    agreement.check();
  }
}

TEST_CASE("Gibbs by trees draws independently on a tree, and mixes better where factors are strong") {
  // A chain of strong ties: single variables hardly ever turn all of it over.
  FactorGraph<double> chain;
  const auto variables = chain.add_variables("v", {12}, 2);
  chain.add_potts("ties", chain_edges(chain.ids(variables)), Var<double>(Tensor<double>(5.)));
  Tensor<double> lean = {.3, 0};
  chain.add_unary("lean", variables, Var<double>(std::move(lean)));
  const auto error = [](const FactorGraph<double>& graph, GibbsBlocks blocks) {
    const auto exact = infer(graph, JunctionTree{});
    double squares = 0;
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      const auto result = infer(graph, Gibbs{.iterations = 1000, .burn_in = 50, .seed = seed, .blocks = blocks});
      for (std::int64_t s = 0; s < exact.variables[0].size(); ++s) {
        const double difference = result.variables[0].data()[s] - exact.variables[0].data()[s];
        if (blocks == GibbsBlocks::trees) CHECK(std::abs(difference) < 5 * result.standard_errors[0].data()[s] + 1e-9);
        squares += difference * difference;
      }
    }
    return std::sqrt(squares / static_cast<double>(8 * exact.variables[0].size()));
  };
  // Independent draws: standard errors of at most .5 / sqrt(1000) = .016.
  CHECK(error(chain, GibbsBlocks::trees) < .016);
  CHECK(error(chain, GibbsBlocks::trees) < .5 * error(chain, GibbsBlocks::single));
  FactorGraph<double> grid;
  const auto pixels = grid.add_variables("p", {4, 4}, 2);
  for (auto& edges : grid_edges(grid.ids(pixels))) grid.add_potts("ties", edges, Var<double>(Tensor<double>(.9)));
  CHECK(error(grid, GibbsBlocks::trees) < error(grid, GibbsBlocks::single));
}

TEST_CASE("Gibbs by colours does not depend on the number of threads") {
  FactorGraph<double> graph;
  const auto pixels = graph.add_variables("p", {40, 40}, 3);
  for (auto& edges : grid_edges(graph.ids(pixels))) graph.add_potts("ties", edges, Var<double>(Tensor<double>(.7)));
  graph.observe(7, 2);
  const int before = threads();
  const auto run = [&](int count) {
    set_threads(count);
    return infer(graph, Gibbs{.iterations = 20, .burn_in = 2, .seed = 1, .blocks = GibbsBlocks::chromatic});
  };
  const auto one = run(1), two = run(2);
  set_threads(before);
  CHECK(one.variables[0].tensor() == two.variables[0].tensor());
  CHECK(*one.assignment == *two.assignment);
  CHECK(one.variables[0].data()[7 * 3 + 2] == 1);
}

TEST_CASE("Gibbs: a block is drawn jointly, whatever its cycles") {
  // Strong ties of all with all: in one block every sweep is independent of the one before.
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {6}, 3);
  graph.add_potts("ties", complete_edges(graph.ids(v)), Var<double>(Tensor<double>(.7)));
  graph.add_unary("lean", v, Var<double>(Tensor<double>{.3, 0, -.2}));
  const auto exact = infer(graph, JunctionTree{});
  const auto effective = [&](const Gibbs& options) {
    const auto result = infer(graph, options);
    double total = 0;
    for (std::int64_t s = 0; s < 18; ++s) {
      total += result.effective_samples[0].data()[s] / 18;
      CHECK(std::abs(result.variables[0].data()[s] - exact.variables[0].data()[s]) <
            5 * result.standard_errors[0].data()[s] + 1e-9);
    }
    return total / static_cast<double>(options.iterations);
  };
  Gibbs whole{.iterations = 2000, .burn_in = 10, .blocks = GibbsBlocks::blocked, .given = {{0, 1, 2, 3, 4, 5}}};
  CHECK(effective(whole) > .6);
  CHECK(effective(whole) < 1.8);
  whole.given = {{5, 2}, {4, 0}, {3, 1}};
  CHECK(effective(whole) < .3);
  CHECK(effective({.iterations = 2000, .burn_in = 10}) < .2);
}

TEST_CASE("Gibbs: a variable of two blocks counts half as much in each") {
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {4}, 2);
  graph.add_potts("ties", complete_edges(graph.ids(v)), Var<double>(Tensor<double>(.4)));
  const auto error = [&](std::vector<std::vector<std::int64_t>> given) {
    const auto result = infer(
        graph, Gibbs{.iterations = 4000, .burn_in = 10, .blocks = GibbsBlocks::blocked, .given = std::move(given)});
    double total = 0;
    for (std::int64_t s = 0; s < 8; ++s) total += result.standard_errors[0].data()[s];
    return total;
  };
  CHECK(error({{0, 1, 2, 3}, {3, 2, 1, 0}}) < error({{0, 1, 2, 3}}));
}

TEST_CASE("Gibbs: standard errors and effective samples of what is known, and of one sweep") {
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {3}, 2);
  graph.add_potts("ties", chain_edges(graph.ids(v)), Var<double>(Tensor<double>(.5)));
  graph.observe(1, 0);
  const auto known = infer(graph, Gibbs{.iterations = 100, .burn_in = 0});
  for (std::int64_t s = 0; s < 6; ++s) {  // the ends depend on what is observed alone
    CHECK(known.standard_errors[0].data()[s] == 0);
    CHECK(known.effective_samples[0].data()[s] == 100);
  }
  const auto once = infer(graph, Gibbs{.iterations = 1, .burn_in = 0});
  CHECK(std::isinf(once.standard_errors[0].data()[0]));
  CHECK(once.effective_samples[0].data()[0] == 1);
}

TEST_CASE("Gibbs refuses blocks of variables that are not there, and tables beyond the memory") {
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {12}, 4);
  graph.add_potts("ties", complete_edges(graph.ids(v)), Var<double>(Tensor<double>(.1)));
  const auto run = [&](std::vector<std::vector<std::int64_t>> given, double memory) {
    infer(graph, Gibbs{.iterations = 1,
                       .burn_in = 0,
                       .blocks = GibbsBlocks::blocked,
                       .given = std::move(given),
                       .memory_limit = memory});
  };
  CHECK_THROWS_WITH_AS(run({{0, 1}, {12}}, 1e9), doctest::Contains("block 1 has variable 12 of 12"), IndexError);
  CHECK_THROWS_WITH_AS(run({{3, 3}}, 1e9), doctest::Contains("block 0 has variable 3 twice"), IndexError);
  CHECK_THROWS_WITH_AS(run({{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}, 1e6), doctest::Contains("width 9"), NumericalError);
  run({}, 1e4);  // blocks that are found fit
}
