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

/// Eliminates in the order with sets, and compares what the order says of itself.
void check_order(const EliminationOrder& order, const std::vector<std::int64_t>& cardinalities, const Scopes& scopes) {
  const std::size_t n = cardinalities.size();
  std::vector<std::set<std::int64_t>> graph(n);
  for (const auto& scope : scopes)
    for (const auto a : scope)
      for (const auto b : scope)
        if (a != b) graph[static_cast<std::size_t>(a)].insert(b);
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
    for (const auto a : neighbours) {
      table *= static_cast<double>(cardinalities[static_cast<std::size_t>(a)]);
      graph[static_cast<std::size_t>(a)].erase(v);
      for (const auto b : neighbours)
        if (a != b) graph[static_cast<std::size_t>(a)].insert(b);
    }
    entries += table;
  }
  CHECK(order.width == width);
  CHECK(order.entries == entries);
}

constexpr EliminationHeuristic heuristics[] = {EliminationHeuristic::min_fill, EliminationHeuristic::weighted_min_fill,
                                               EliminationHeuristic::min_degree, EliminationHeuristic::best};

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

TEST_CASE("the fill counts that are kept up to date are those counted anew") {
  std::mt19937_64 random(6);
  for (int round = 0; round < 20; ++round) {
    // Sparse and dense, unweighted and weighted by the ends' states.
    const bool weighted = round % 4 > 1;
    const auto model = testing_models::random_model(
        random, {.variables = 20, .factors = round % 2 == 0 ? 30 : 120, .most_states = 4, .most_arity = 2});
    const auto heuristic = weighted ? EliminationHeuristic::weighted_min_fill : EliminationHeuristic::min_fill;
    const auto order = elimination_order(model.cardinalities, model.scopes, {heuristic});
    std::vector<std::set<std::int64_t>> graph(20);
    for (const auto& scope : model.scopes)
      if (scope.size() == 2) {
        graph[static_cast<std::size_t>(scope[0])].insert(scope[1]);
        graph[static_cast<std::size_t>(scope[1])].insert(scope[0]);
      }
    const auto fill = [&](std::size_t v) {
      std::int64_t missing = 0;
      for (const auto a : graph[v])
        for (const auto b : graph[v])
          if (a < b && !graph[static_cast<std::size_t>(a)].count(b))
            missing += weighted ? model.cardinalities[static_cast<std::size_t>(a)] *
                                      model.cardinalities[static_cast<std::size_t>(b)]
                                : 1;
      return missing;
    };
    std::vector<bool> gone(20);
    for (const auto v : order.order) {
      std::int64_t least = 1000000;
      for (std::size_t u = 0; u < 20; ++u)
        if (!gone[u]) least = std::min(least, fill(u));
      CHECK(fill(static_cast<std::size_t>(v)) == least);
      const auto neighbours = graph[static_cast<std::size_t>(v)];
      for (const auto a : neighbours) {
        graph[static_cast<std::size_t>(a)].erase(v);
        for (const auto b : neighbours)
          if (a != b) graph[static_cast<std::size_t>(a)].insert(b);
      }
      gone[static_cast<std::size_t>(v)] = true;
      graph[static_cast<std::size_t>(v)].clear();
    }
  }
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
