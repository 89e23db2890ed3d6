#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/eliminate.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::all_assignments;
using testing_models::index_tensor;
using testing_models::log_sum;
using testing_models::normal_numbers;
using testing_models::plain_score;

namespace {

FactorGraph<double> build(bool evidence) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {4}, 3);
  const auto b = graph.add_variables("b", {3}, 2);
  graph.add_unary("unary", a, Var<double>(normal_numbers({2, 4, 3}, 1)));
  graph.add_factors("cycle", index_tensor({4, 2}, {0, 1, 1, 2, 2, 3, 3, 0}), Var<double>(normal_numbers({3, 3}, 2)));
  graph.add_factors("triple", index_tensor({1, 3}, {3, 4, 5}), Var<double>(normal_numbers({3, 2, 2}, 3)));
  graph.add_structured("one", FactorKind::at_most_one, index_tensor({1, 3}, {4, 5, 6}),
                       Var<double>(normal_numbers({4}, 4)));
  graph.add_factors("constant", index_tensor({1, 0}, {}), Var<double>(normal_numbers({1}, 5)));
  if (evidence) graph.observe({{1, 2}, {b + 4, 0}});
  return graph;
}

}  // namespace

TEST_CASE("semirings: each gives what enumeration gives") {
  for (const bool evidence : {false, true})
    for (const std::int64_t batch : {0, 1}) {
      const auto graph = build(evidence);
      const EliminateOptions options{.batch = batch};
      auto all = all_assignments(graph);
      std::vector<double> scores;
      for (const auto& states : all) scores.push_back(plain_score(graph, states, batch));
      const double log_partition = log_sum(scores);

      LogSemiring sums;
      CHECK(eliminate(graph, sums, options) == doctest::Approx(log_partition).epsilon(1e-12));

      KBestSemiring best{7};
      const auto found = eliminate(graph, best, options);
      REQUIRE(found.size() == 7);
      auto sorted = scores;
      std::sort(sorted.rbegin(), sorted.rend());
      std::vector<std::vector<std::int64_t>> seen;
      for (std::size_t i = 0; i < 7; ++i) {
        CHECK(found[i].score == doctest::Approx(sorted[i]).epsilon(1e-12));
        std::vector<std::int64_t> states(7, -1);
        found[i].assignment->write(states.data());
        CHECK(plain_score(graph, states, batch) == doctest::Approx(sorted[i]).epsilon(1e-12));
        CHECK(std::find(seen.begin(), seen.end(), states) == seen.end());
        seen.push_back(states);
      }

      double entropy = 0, expected = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (std::isinf(scores[i])) continue;
        const double p = std::exp(scores[i] - log_partition);
        entropy -= p * (scores[i] - log_partition);
        for (std::int64_t f = 0; f < 4; ++f)
          expected += p * (all[i][static_cast<std::size_t>(f)] == 1 ? double(f + 1) : 0);
      }
      EntropySemiring entropies;
      CHECK(EntropySemiring::entropy(eliminate(graph, entropies, options)) == doctest::Approx(entropy).epsilon(1e-11));
      ExpectationSemiring counts{[](std::int64_t group, std::int64_t factor, std::int64_t entry, double) {
        return group == 0 && entry == 1 ? static_cast<double>(factor + 1) : 0.0;
      }};
      const auto mean = eliminate(graph, counts, options);
      CHECK(mean.mean == doctest::Approx(expected).epsilon(1e-11));
      CHECK(mean.log_weight == doctest::Approx(log_partition).epsilon(1e-12));
    }
}

TEST_CASE("semirings: samples come with their probabilities") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {3}, 2);
  graph.add_factors("cycle", complete_edges(graph.ids(a)), Var<double>(normal_numbers({3, 2, 2}, 6)));
  const auto all = all_assignments(graph);
  std::vector<double> scores;
  for (const auto& states : all) scores.push_back(plain_score(graph, states));
  const double log_partition = log_sum(scores);
  std::mt19937_64 random(5);
  SamplingSemiring sampling{[&] { return std::uniform_real_distribution<double>(0, 1)(random); }};
  std::map<std::vector<std::int64_t>, int> counts;
  constexpr int samples = 20000;
  for (int i = 0; i < samples; ++i) {
    const auto one = eliminate(graph, sampling);
    CHECK(one.log_weight == doctest::Approx(log_partition));
    std::vector<std::int64_t> states(3, -1);
    one.assignment->write(states.data());
    ++counts[states];
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const double p = std::exp(scores[i] - log_partition);
    CHECK(std::abs(counts[all[i]] / double(samples) - p) < 5 * std::sqrt(p * (1 - p) / samples));
  }
}

TEST_CASE("semirings: a long chain, impossible evidence, and what does not fit") {
  FactorGraph<double> chain;
  const auto a = chain.add_variables("a", {20000}, 2);
  chain.add_factors("edges", chain_edges(chain.ids(a)), Var<double>(Tensor<double>{{1, 0}, {0, 1}}));
  EliminateOptions options{.order = {.heuristic = EliminationHeuristic::min_degree}};
  LogSemiring sums;
  CHECK(eliminate(chain, sums, options) ==
        doctest::Approx(std::log(2.0) + 19999 * std::log(std::exp(1.0) + 1)).epsilon(1e-12));
  KBestSemiring best{1};
  const auto found = eliminate(chain, best, options);
  std::vector<std::int64_t> states(20000, -1);
  found[0].assignment->write(states.data());
  CHECK(found[0].score == doctest::Approx(19999));
  for (const std::int64_t s : states) CHECK_EQ(s, states[0]);

  const double impossible = -std::numeric_limits<double>::infinity();
  FactorGraph<double> none;
  const auto b = none.add_variables("b", {2}, 2);
  none.add_unary("unary", b, Var<double>::filled({2}, impossible));
  CHECK(eliminate(none, sums) == impossible);
  CHECK(eliminate(none, best).empty());
  EntropySemiring entropies;
  CHECK(eliminate(none, entropies).log_weight == impossible);
  CHECK_THROWS_AS(eliminate(build(false), sums, {.memory_limit = 10}), NumericalError);
  CHECK_THROWS_AS(eliminate(build(false), sums, {.batch = 2}), IndexError);
}
