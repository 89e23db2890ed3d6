#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/elimination_order.hpp>

#include "prob/random_models.hpp"

using namespace tapestry;

namespace {

using Scopes = std::vector<std::vector<std::int64_t>>;

std::vector<std::set<std::int64_t>> interaction_graph(std::size_t n, const Scopes& scopes) {
  std::vector<std::set<std::int64_t>> graph(n);
  for (const auto& scope : scopes)
    for (const auto a : scope)
      for (const auto b : scope)
        if (a != b) graph[static_cast<std::size_t>(a)].insert(b);
  return graph;
}

/// Joins the neighbours of a variable, and removes it.
void eliminate(std::vector<std::set<std::int64_t>>& graph, std::int64_t v) {
  const auto neighbours = std::move(graph[static_cast<std::size_t>(v)]);
  graph[static_cast<std::size_t>(v)].clear();
  for (const auto a : neighbours) {
    graph[static_cast<std::size_t>(a)].erase(v);
    for (const auto b : neighbours)
      if (a != b) graph[static_cast<std::size_t>(a)].insert(b);
  }
}

/// Eliminates in the order with sets, and compares what the order says of itself.
void check_order(const EliminationOrder& order, const std::vector<std::int64_t>& cardinalities, const Scopes& scopes) {
  const std::size_t n = cardinalities.size();
  auto graph = interaction_graph(n, scopes);
  REQUIRE(order.complete);
  REQUIRE(order.order.size() == n);
  std::int64_t width = 0;
  double entries = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::int64_t v = order.order[i];
    const auto neighbours = graph[static_cast<std::size_t>(v)];
    const std::set<std::int64_t> said(order.neighbours[i].begin(), order.neighbours[i].end());
    CHECK(said == neighbours);
    width = std::max(width, static_cast<std::int64_t>(neighbours.size()));
    double table = static_cast<double>(cardinalities[static_cast<std::size_t>(v)]);
    for (const auto a : neighbours) table *= static_cast<double>(cardinalities[static_cast<std::size_t>(a)]);
    entries += table;
    eliminate(graph, v);
  }
  CHECK(order.width == width);
  CHECK(order.entries == entries);
}

constexpr EliminationHeuristic heuristics[] = {EliminationHeuristic::min_fill, EliminationHeuristic::weighted_min_fill,
                                               EliminationHeuristic::min_degree, EliminationHeuristic::min_weight,
                                               EliminationHeuristic::best};

/// What a variable costs by a greedy heuristic's definition, in a graph of those that are left.
double cost_of(EliminationHeuristic heuristic, const std::vector<std::set<std::int64_t>>& graph,
               const std::vector<std::int64_t>& cardinalities, std::size_t v) {
  const auto states = [&](std::int64_t u) { return static_cast<double>(cardinalities[static_cast<std::size_t>(u)]); };
  double cost = 0;
  switch (heuristic) {
    case EliminationHeuristic::min_degree:
      return static_cast<double>(graph[v].size());
    case EliminationHeuristic::min_weight:
      cost = states(static_cast<std::int64_t>(v));
      for (const auto a : graph[v]) cost *= states(a);
      return cost;
    default:
      for (const auto a : graph[v])
        for (const auto b : graph[v])
          if (a < b && !graph[static_cast<std::size_t>(a)].count(b))
            cost += heuristic == EliminationHeuristic::weighted_min_fill ? states(a) * states(b) : 1;
      return cost;
  }
}

}  // namespace

TEST_CASE("elimination orders are what they say") {
  std::mt19937_64 random(5);
  for (int i = 0; i < 12; ++i) {
    const auto model = testing_models::random_model(random, {.variables = 25, .factors = 40, .most_states = 3});
    for (const auto heuristic : heuristics)
      check_order(elimination_order(model.cardinalities, model.scopes, {heuristic}), model.cardinalities, model.scopes);
  }
}

TEST_CASE("trees and cycles are eliminated at their treewidth") {
  const std::vector<std::int64_t> binary(40, 2);
  Scopes tree, cycle;
  for (std::int64_t v = 1; v < 40; ++v) tree.push_back({v, v / 3});
  for (std::int64_t v = 0; v < 40; ++v) cycle.push_back({v, (v + 1) % 40});
  for (const auto heuristic : heuristics) {
    CHECK(elimination_order(binary, tree, {heuristic}).width == 1);
    CHECK(elimination_order(binary, cycle, {heuristic}).width == 2);
  }
}

TEST_CASE("each step of a greedy order takes a variable that costs the least by the heuristic's definition") {
  std::mt19937_64 random(6);
  for (const auto heuristic : {EliminationHeuristic::min_fill, EliminationHeuristic::weighted_min_fill,
                               EliminationHeuristic::min_degree, EliminationHeuristic::min_weight})
    for (int round = 0; round < 12; ++round) {
      // Sparse and dense, of pairs and of larger scopes.
      const auto model = testing_models::random_model(random, {.variables = 20,
                                                               .factors = round % 2 == 0 ? 25 : 90,
                                                               .most_states = 5,
                                                               .most_arity = round % 4 < 2 ? 2 : 4});
      const auto order = elimination_order(model.cardinalities, model.scopes, {heuristic, 1, random()});
      auto graph = interaction_graph(20, model.scopes);
      std::set<std::size_t> left;
      for (std::size_t v = 0; v < 20; ++v) left.insert(v);
      for (const auto v : order.order) {
        double least = 1e300;
        for (const std::size_t u : left) least = std::min(least, cost_of(heuristic, graph, model.cardinalities, u));
        CHECK(cost_of(heuristic, graph, model.cardinalities, static_cast<std::size_t>(v)) == least);
        eliminate(graph, v);
        left.erase(static_cast<std::size_t>(v));
      }
      CHECK(left.empty());
    }
}

TEST_CASE("heuristics differ where cardinalities do") {
  // 0 has one neighbour of many states; 1, 2 and 3 are a cycle of few; all are free of fill.
  const std::vector<std::int64_t> cardinalities = {2, 2, 2, 2, 50};
  const Scopes scopes = {{0, 4}, {1, 2}, {2, 3}, {3, 1}};
  CHECK(elimination_order(cardinalities, scopes, {EliminationHeuristic::min_degree}).neighbours[0].size() == 1);
  CHECK(elimination_order(cardinalities, scopes, {EliminationHeuristic::min_weight}).neighbours[0].size() == 2);
  // A cycle of four: one new edge, of 9 pairs of states or of 25.
  const std::vector<std::int64_t> four = {3, 5, 3, 5};
  const Scopes cycle = {{0, 1}, {1, 2}, {2, 3}, {3, 0}};
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    CHECK(elimination_order(four, cycle, {EliminationHeuristic::weighted_min_fill, 1, seed}).order[0] % 2 == 1);
}

TEST_CASE("where tables are large the best order is none worse than each heuristic's; ties are broken by the seed") {
  // A grid of two, three and four states.
  std::vector<std::int64_t> cardinalities;
  Scopes grid;
  for (std::int64_t v = 0; v < 81; ++v) {
    cardinalities.push_back(2 + v * v % 3);
    if (v % 9 < 8) grid.push_back({v, v + 1});
    if (v < 72) grid.push_back({v, v + 9});
  }
  std::set<std::vector<std::int64_t>> different;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const auto run = [&](EliminationHeuristic heuristic) {
      return elimination_order(cardinalities, grid, {heuristic, 10, seed});
    };
    const auto best = run(EliminationHeuristic::best);
    for (const auto heuristic :
         {EliminationHeuristic::min_fill, EliminationHeuristic::weighted_min_fill, EliminationHeuristic::min_weight})
      CHECK(best.entries <= run(heuristic).entries);
    different.insert(run(EliminationHeuristic::min_fill).order);
  }
  CHECK(different.size() == 4);
}

TEST_CASE("the same seed gives the same order, and more restarts no worse one") {
  std::mt19937_64 random(7);
  const auto model = testing_models::random_model(random, {.variables = 60, .factors = 110, .most_states = 3});
  const auto search = [&](int restarts, std::uint64_t seed) {
    return elimination_order(model.cardinalities, model.scopes, {EliminationHeuristic::best, restarts, seed});
  };
  CHECK(search(5, 1).order == search(5, 1).order);
  CHECK(search(20, 1).entries <= search(1, 1).entries);
  // Where tables are large, restarts are worth their time.
  Scopes grid;
  for (std::int64_t v = 0; v < 196; ++v) {
    if (v % 14 < 13) grid.push_back({v, v + 1});
    if (v < 182) grid.push_back({v, v + 14});
  }
  const std::vector<std::int64_t> binary(196, 2);
  int better = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const double once = elimination_order(binary, grid, {EliminationHeuristic::best, 1, seed}).entries,
                 often = elimination_order(binary, grid, {EliminationHeuristic::best, 10, seed}).entries;
    CHECK(often <= once);
    better += often < once;
  }
  CHECK(better >= 3);
  CHECK_THROWS_AS(elimination_order({2}, {{0, 1}}), IndexError);
}
