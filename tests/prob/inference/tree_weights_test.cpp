#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/grid.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/inference/spanning_forests.hpp>

#include "prob/normal_numbers.hpp"
#include "prob/random_models.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

/// All pairs of six variables; some attract much more than others.
FactorGraph<double> complete(std::uint64_t seed) {
  FactorGraph<double> graph;
  const auto variables = graph.add_variables("v", {6}, 2);
  graph.add_unary("unary", variables, Var<double>(normal_numbers({6, 2}, seed, .3)));
  Tensor<double> weights = normal_numbers({15}, seed + 100, 1);
  graph.add_potts("pairs", complete_edges(graph.ids(variables)), Var<double>(std::move(weights)));
  return graph;
}

TreeReweighted options_of(int updates) {
  return {.iterations = 5000, .tolerance = 1e-10, .damping = .5, .weight_updates = updates};
}

}  // namespace

TEST_CASE("tree weights: the bound falls with each step and stays above the log-partition") {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const auto graph = complete(seed);
    const double exact = infer(graph, JunctionTree{}).log_partition.item();
    const auto drawn = infer(graph, options_of(0)), optimized = infer(graph, options_of(12));
    CHECK(drawn.converged);
    CHECK(optimized.converged);
    CHECK(optimized.kind == BoundKind::upper_bound);
    const auto& bounds = optimized.trace.bound;
    REQUIRE(bounds.size() > 2);
    CHECK(bounds.front() == doctest::Approx(drawn.log_partition.item()).epsilon(1e-9));
    for (std::size_t i = 1; i < bounds.size(); ++i) CHECK(bounds[i] < bounds[i - 1]);
    for (const double bound : bounds) CHECK(bound > exact);
    CHECK(optimized.log_partition.item() == doctest::Approx(bounds.back()).epsilon(1e-9));
    // Much of the gap is closed, not a little.
    CHECK(bounds.back() - exact < .9 * (bounds.front() - exact));
  }
}

TEST_CASE("tree weights stay a mixture of forests") {
  const auto graph = complete(1);
  const auto weights = tree_weights(graph, options_of(10));
  REQUIRE(weights.size() == 21);
  double pairs = 0;
  for (std::size_t f = 0; f < 21; ++f) {
    CHECK(weights[f] > 0);
    CHECK(weights[f] <= 1 + 1e-12);
    if (f < 6)
      CHECK(weights[f] == doctest::Approx(1));
    else
      pairs += weights[f];
  }
  // A spanning tree of six variables has five edges.
  CHECK(pairs == doctest::Approx(5));
  // They can be kept, and used with other potentials.
  auto options = options_of(0);
  options.weights = weights;
  CHECK(infer(graph, options).log_partition.item() ==
        doctest::Approx(infer(graph, options_of(10)).log_partition.item()).epsilon(1e-9));
}

TEST_CASE("the forest of the largest gains") {
  const auto graph = complete(2);
  std::vector<double> gains(21, 0.0);
  for (std::size_t f = 6; f < 21; ++f) gains[f] = static_cast<double>((f * 7) % 15);
  const auto forest = detail::maximum_forest(*graph.structure(), gains);
  // Against all sets of five edges that reach all variables.
  const auto edges = complete_edges(graph.ids(0));
  double best = 0, found = 0;
  for (std::size_t e = 0; e < 15; ++e) found += forest[6 + e] ? gains[6 + e] : 0;
  for (unsigned set = 0; set < 1u << 15; ++set) {
    if (__builtin_popcount(set) != 5) continue;
    unsigned reached = 1;
    for (int round = 0; round < 5; ++round)
      for (std::size_t e = 0; e < 15; ++e)
        if (set >> e & 1u) {
          const unsigned both = 1u << edges(e, 0) | 1u << edges(e, 1);
          if ((reached & both) != 0) reached |= both;
        }
    if (reached != 63) continue;
    double total = 0;
    for (std::size_t e = 0; e < 15; ++e) total += (set >> e & 1u) ? gains[6 + e] : 0;
    best = std::max(best, total);
  }
  CHECK(found == best);
  for (std::size_t f = 0; f < 6; ++f) CHECK(forest[f] == 1);
}

TEST_CASE("tree weights of tables over three variables, with evidence") {
  std::mt19937_64 random(5);
  for (int i = 0; i < 4; ++i) {
    const auto model = testing_models::random_model(random, {.variables = 6, .factors = 9, .most_states = 3});
    auto built = factor_graph<double>(model);
    built.graph.observe(2, 0);
    const double exact = infer(built.graph, JunctionTree{}).log_partition.item();
    const auto result = infer(built.graph, options_of(6));
    CHECK(result.converged);
    CHECK(result.log_partition.item() >= exact - 1e-9);
    for (std::size_t n = 1; n < result.trace.bound.size(); ++n)
      CHECK(result.trace.bound[n] < result.trace.bound[n - 1]);
  }
}

TEST_CASE("grids: messages factor by factor agree with the vector kernels, weights or not") {
  FactorGraph<double> graph;
  const auto pixels = graph.add_variables("pixels", {4, 5}, 3);
  const Var<double> unary(normal_numbers({4, 5, 3}, 7, 1)), pair(normal_numbers({3, 3}, 8, 1));
  graph.add_unary("unary", pixels, unary);
  for (auto& edges : grid_edges(graph.ids(pixels))) graph.add_factors("edges", edges, pair);
  for (const double weight : {1., .6}) {
    const BeliefPropagation options{.iterations = 8, .tolerance = 0, .weights = {1, weight, weight}};
    const auto a = infer(graph, options),
               b = detail::pass_messages(graph, options, detail::spread_weights(*graph.structure(), options.weights),
                                         true);
    CHECK(a.log_partition.item() == doctest::Approx(b.log_partition.item()).epsilon(1e-12));
    for (std::int64_t i = 0; i < 60; ++i) CHECK(std::abs(a.variables[0].data()[i] - b.variables[0].data()[i]) < 1e-12);
  }
}

TEST_CASE("tree weights that are given: what is too much for forests is no bound") {
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {5}, 2);
  graph.add_unary("unary", v, Var<double>(normal_numbers({5, 2}, 3, 1)));
  const IndexTensor edges = {{0, 1}, {1, 2}, {2, 0}, {3, 4}};  // a cycle of three, and a pair
  graph.add_potts("edges", edges, Var<double>(Tensor<double>(.8)));
  const auto kind = [&](const std::vector<double>& edge_weights) {
    std::vector<double> weights(5, 1.);
    weights.insert(weights.end(), edge_weights.begin(), edge_weights.end());
    return infer(graph, TreeReweighted{.iterations = 1000, .weights = weights}).kind;
  };
  CHECK(kind({2. / 3, 2. / 3, 2. / 3, 1}) == BoundKind::upper_bound);
  CHECK(kind({1, 1, 1e-3, 1}) == BoundKind::estimate);
  CHECK(kind({1, .5, .5, 1}) == BoundKind::upper_bound);
  CHECK(kind({.5, .5, .5, 1.1}) == BoundKind::estimate);
  CHECK(kind({.7, .7, .7, .5}) == BoundKind::estimate);
  CHECK(kind({1.2, .4, .4, 1}) == BoundKind::estimate);
  CHECK(infer(graph, TreeReweighted{.iterations = 1000}).kind == BoundKind::upper_bound);
  // A factor over three variables joins two of them to the third.
  FactorGraph<double> triple;
  const auto t = triple.add_variables("t", {3}, 2);
  triple.add_factors("triple", IndexTensor{{0, 1, 2}}, Var<double>(normal_numbers({1, 2, 2, 2}, 4, 1)));
  triple.add_potts("edge", chain_edges(triple.ids(t)), Var<double>(Tensor<double>(.5)));
  const auto kind_of = [&](double three, double two) {
    return infer(triple, TreeReweighted{.iterations = 1000, .weights = {three, two, two}}).kind;
  };
  CHECK(kind_of(.6, .4) == BoundKind::upper_bound);
  CHECK(kind_of(.8, .4) == BoundKind::estimate);
}
