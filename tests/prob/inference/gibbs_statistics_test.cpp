#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/gibbs_sampler.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>

#include "prob/random_models.hpp"
#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

const Gibbs ways[] = {{.blocks = GibbsBlocks::single},
                      {.blocks = GibbsBlocks::chromatic},
                      {.blocks = GibbsBlocks::trees},
                      {.blocks = GibbsBlocks::blocked, .block_size = 2}};

FactorGraph<double> small_grid() {
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {2, 3}, 3);
  graph.add_unary("unary", v, Var<double>(normal_numbers({2, 3, 3}, 3, .5)));
  graph.add_potts("ties", concatenate_edges(grid_edges(graph.ids(v))), Var<double>(Tensor<double>(.8)));
  return graph;
}

/// Two spins of which each is the other's state with a probability of e^tie / (1 + e^tie).
FactorGraph<double> two_spins(double tie) {
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {2}, 2);
  graph.add_potts("tie", chain_edges(graph.ids(v)), Var<double>(Tensor<double>(tie)));
  return graph;
}

}  // namespace

TEST_CASE("Gibbs: 95 percent intervals hold the exact marginals in 95 percent of all seeds, in every way of sampling") {
  const auto graph = small_grid();
  const auto exact = infer(graph, JunctionTree{});
  for (Gibbs options : ways) {
    CAPTURE(static_cast<int>(options.blocks));
    options.iterations = 1000;
    options.burn_in = 100;
    int inside = 0, all = 0;
    for (options.seed = 0; options.seed < 60; ++options.seed) {
      const auto result = infer(graph, options);
      for (std::int64_t s = 0; s < exact.variables[0].size(); s += 3) {
        const double error = result.standard_errors[0].data()[s];
        if (error < 1e-12) continue;  // the first of a block that is a whole component: nothing is drawn before it
        inside += std::abs(result.variables[0].data()[s] - exact.variables[0].data()[s]) < 2.093 * error;  // t, 19
        ++all;
      }
    }
    REQUIRE(all > 300);
    const double part = static_cast<double>(inside) / all;
    CHECK(part > .88);
    CHECK(part < .985);
  }
}

TEST_CASE("Gibbs: standard errors and effective samples of two spins are those of the known autocorrelation") {
  constexpr double tie = 1.5;
  const double p = std::exp(tie) / (1 + std::exp(tie)), correlation = (2 * p - 1) * (2 * p - 1);
  // An autoregressive sequence: n samples are as good as n (1 - r) / (1 + r).
  const double inefficiency = (1 + correlation) / (1 - correlation), variance = (p - .5) * (p - .5);
  const auto graph = two_spins(tie);
  constexpr std::int64_t sweeps = 4000;
  double found = 0, square = 0, count = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const auto result = infer(graph, Gibbs{.iterations = sweeps, .burn_in = 50, .seed = seed});
    for (std::int64_t s = 0; s < 4; ++s, ++count) {
      const double error = result.standard_errors[0].data()[s];
      found += sweeps / result.effective_samples[0].data()[s];
      square += error * error;
    }
  }
  CHECK(found / count == doctest::Approx(inefficiency).epsilon(.12));
  CHECK(square / count == doctest::Approx(variance * inefficiency / sweeps).epsilon(.12));
}

TEST_CASE("Gibbs: what is burnt in is not counted, and everything after it is") {
  // The same draws: the first 7 sweeps of 20 are burnt in, or counted.
  const auto graph = small_grid();
  for (Gibbs options : ways) {
    CAPTURE(static_cast<int>(options.blocks));
    const auto means = [&](std::int64_t burn_in, std::int64_t iterations) {
      options.burn_in = burn_in;
      options.iterations = iterations;
      const auto result = infer(graph, options);
      CHECK(result.trace.iterations == burn_in + iterations);
      return result.variables[0];
    };
    const auto all = means(0, 20), first = means(0, 7), rest = means(7, 13);
    for (std::int64_t s = 0; s < all.size(); ++s)
      CHECK(std::abs(20 * all.data()[s] - 7 * first.data()[s] - 13 * rest.data()[s]) < 1e-12);
    CHECK(first.tensor() != rest.tensor());
  }
}

TEST_CASE("Gibbs: a start far from what is probable is forgotten in the burn-in") {
  // Strong ties hold what was drawn first, until the one that leans turns all the others.
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {8}, 2);
  graph.add_potts("ties", chain_edges(graph.ids(v)), Var<double>(Tensor<double>(2.5)));
  Tensor<double> lean = empty_tensor<double>({8, 2});
  lean.fill(0);
  lean(7, 1) = 12;
  graph.add_unary("lean", v, Var<double>(std::move(lean)));
  const auto exact = infer(graph, JunctionTree{});
  double early = 0, late = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const auto first = infer(graph, Gibbs{.iterations = 20, .burn_in = 0, .seed = seed}),
               later = infer(graph, Gibbs{.iterations = 20, .burn_in = 200, .seed = seed});
    early += (exact.variables[0].data()[1] - first.variables[0].data()[1]) / 40;
    late += (exact.variables[0].data()[1] - later.variables[0].data()[1]) / 40;
  }
  CHECK(early > .1);
  CHECK(std::abs(late) < .5 * early);
}

TEST_CASE("Gibbs: colours are proper, whole, and no more than a chain or a grid needs") {
  std::mt19937_64 random(11);
  for (int round = 0; round < 20; ++round) {
    const auto model =
        testing_models::random_model(random, {.variables = 30, .factors = 10 + 4 * round, .most_arity = 4});
    const auto evidence = testing_models::random_evidence(random, model, .2);
    std::vector<const double*> tables;
    for (const auto& table : model.tables) tables.push_back(table.data());
    detail::GibbsSampler sampler(model.cardinalities, model.scopes, tables, evidence, 1);
    std::vector<std::int64_t> color(30, -1);
    std::int64_t count = 0, drawn = 0;
    for (const auto& members : sampler.colors()) {
      CHECK_FALSE(members.empty());
      for (const std::size_t v : members) {
        CHECK(color[v] == -1);
        color[v] = count;
        ++drawn;
      }
      ++count;
    }
    CHECK(drawn == 30 - static_cast<std::int64_t>(evidence.size()));
    for (const auto& [variable, state] : evidence) CHECK(color[static_cast<std::size_t>(variable)] == -1);
    for (const auto& scope : model.scopes)
      for (const auto a : scope)
        for (const auto b : scope) {
          const auto first = color[static_cast<std::size_t>(a)], second = color[static_cast<std::size_t>(b)];
          CHECK((a == b || first < 0 || second < 0 || first != second));
        }
  }
  const std::vector<double> table(4, 0);
  for (const bool chain : {true, false}) {
    std::vector<std::vector<std::int64_t>> scopes;
    for (std::int64_t v = 0; v < 36; ++v) {
      if (v < 35 && (chain || v % 6 < 5)) scopes.push_back({v, v + 1});
      if (!chain && v < 30) scopes.push_back({v, v + 6});
    }
    const std::vector<const double*> tables(scopes.size(), table.data());
    detail::GibbsSampler sampler(std::vector<std::int64_t>(36, 2), scopes, tables, {}, 1);
    CHECK(sampler.colors().size() == 2);
  }
}
