#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/eliminate.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>

#include "prob/random_models.hpp"
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

TEST_CASE("semirings: random graphs with zeros, single states, several components, evidence and a batch") {
  std::mt19937_64 random(9);
  int impossible = 0, one_state = 0, exhausted = 0;
  for (int round = 0; round < 24; ++round) {
    const auto model = testing_models::random_model(
        random, {.variables = 6, .factors = round % 8, .most_states = 3, .zeros = round % 3 == 0 ? 0.45 : 0.1});
    auto graph = factor_graph<double>(model).graph;
    for (std::int64_t v = 0; v < graph.variables(); ++v) one_state += graph.cardinality(v) == 1;
    const auto& group = graph.variable_groups()[0];
    graph.add_unary("soft", 0, Var<double>(normal_numbers({2, group.size(), group.cardinality}, 10)));
    for (std::int64_t v = 0; v < graph.variables(); ++v)
      if (random() % 4 == 0) graph.observe(v, static_cast<std::int64_t>(random()) & 1 & (graph.cardinality(v) > 1));
    const std::int64_t batch = round % 2;
    const EliminateOptions options{.batch = batch};
    const auto value = [](std::int64_t g, std::int64_t f, std::int64_t entry, double) {
      return std::sin(static_cast<double>(7 * g + 3 * f + entry + 1));
    };
    std::vector<double> scores, possible;
    double expected = 0, entropy = 0;
    const auto all = all_assignments(graph);
    for (const auto& states : all) scores.push_back(plain_score(graph, states, batch));
    const double log_partition = log_sum(scores);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (std::isinf(scores[i])) continue;
      possible.push_back(scores[i]);
      const double p = std::exp(scores[i] - log_partition);
      entropy -= p * (scores[i] - log_partition);
      for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
        const auto& factors = graph.factor_groups()[g];
        for (std::int64_t f = 0; f < factors.factors(); ++f) {
          std::vector<std::int64_t> local;
          for (std::int64_t k = 0; k < factors.arity(); ++k)
            local.push_back(all[i][static_cast<std::size_t>(factors.scopes[f * factors.arity() + k])]);
          expected += p * value(static_cast<std::int64_t>(g), f, factors.entry(local.data()), 0);
        }
      }
    }
    std::sort(possible.rbegin(), possible.rend());

    LogSemiring sums;
    EntropySemiring entropies;
    ExpectationSemiring means{value};
    KBestSemiring best{round % 4 == 0 ? std::size_t{1} : std::size_t{40}};
    const auto found = eliminate(graph, best, options);
    REQUIRE(found.size() == std::min(best.k, possible.size()));
    std::map<std::vector<std::int64_t>, int> seen;
    for (std::size_t i = 0; i < found.size(); ++i) {
      std::vector<std::int64_t> states(6, -1);
      found[i].assignment->write(states.data());
      CHECK(found[i].score == doctest::Approx(possible[i]).epsilon(1e-11));
      CHECK(plain_score(graph, states, batch) == doctest::Approx(possible[i]).epsilon(1e-11));
      CHECK(++seen[states] == 1);
      for (const auto& [variable, state] : graph.evidence()) CHECK(states[static_cast<std::size_t>(variable)] == state);
    }
    exhausted += possible.size() < best.k;
    if (possible.empty()) {
      ++impossible;
      CHECK(eliminate(graph, sums, options) == log_partition);
      CHECK(eliminate(graph, entropies, options).log_weight == log_partition);
      CHECK(eliminate(graph, means, options).log_weight == log_partition);
      continue;
    }
    CHECK(eliminate(graph, sums, options) == doctest::Approx(log_partition).epsilon(1e-11));
    CHECK(std::abs(EntropySemiring::entropy(eliminate(graph, entropies, options)) - entropy) < 1e-10);
    CHECK(std::abs(eliminate(graph, means, options).mean - expected) < 1e-10);
    SamplingSemiring sampling{[&] { return std::uniform_real_distribution<double>(0, 1)(random); }};
    for (int i = 0; i < 5; ++i) {
      const auto one = eliminate(graph, sampling, options);
      CHECK(one.log_weight == doctest::Approx(log_partition).epsilon(1e-11));
      std::vector<std::int64_t> states(6, -1);
      one.assignment->write(states.data());
      CHECK(std::isfinite(plain_score(graph, states, batch)));
      for (const auto& [variable, state] : graph.evidence()) CHECK(states[static_cast<std::size_t>(variable)] == state);
    }
  }
  CHECK(impossible > 0);
  CHECK(impossible < 12);
  CHECK(one_state > 0);
  CHECK(exhausted > 0);
}

TEST_CASE("semirings: entropies and expectations are differentiable by way of the junction tree's marginals") {
  const auto rebuilt = [](const std::vector<Var<double>>& x) {
    auto graph = build(true);
    for (std::int64_t g = 0; g < 3; ++g) graph.set_potentials(g, x[static_cast<std::size_t>(g)]);
    return graph;
  };
  const auto x = testing_models::normal_variables({{2, 4, 3}, {3, 3}, {3, 2, 2}});
  const Var<double> counts(normal_numbers({3, 3}, 12));  // of entries of the cycle's table
  // Log-partition less expected score.
  const auto entropy = [&](const std::vector<Var<double>>& v) {
    const auto graph = rebuilt(v);
    const auto r = infer(graph, JunctionTree{});
    Var<double> out = sum(r.log_partition);
    for (std::size_t g = 0; g < r.factors.size(); ++g) out = out - sum(r.factors[g] * graph.all_potentials()[g]);
    return out;
  };
  const auto expectation = [&](const std::vector<Var<double>>& v) {
    return sum(infer(rebuilt(v), JunctionTree{}).factors[1] * counts);
  };
  double entropies = 0, means = 0;
  for (const std::int64_t batch : {0, 1}) {
    EntropySemiring own;
    ExpectationSemiring mean{[&](std::int64_t group, std::int64_t, std::int64_t entry, double) {
      return group == 1 ? counts.data()[entry] : 0.0;
    }};
    entropies += EntropySemiring::entropy(eliminate(rebuilt(x), own, {.batch = batch}));
    means += eliminate(rebuilt(x), mean, {.batch = batch}).mean;
  }
  CHECK(entropy(x).item() == doctest::Approx(entropies).epsilon(1e-11));
  CHECK(expectation(x).item() == doctest::Approx(means).epsilon(1e-11));
  CHECK_NOTHROW(check_gradients(entropy, x, {.forward_mode = false}));
  CHECK_NOTHROW(check_gradients(expectation, x, {.forward_mode = false}));
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

namespace {

/// Counts the values that there are at once.
struct Counted {
  static inline std::int64_t now = 0, most = 0;
  double x = 0;
  Counted(double value) : x(value) { most = std::max(most, ++now); }
  Counted(const Counted& other) : Counted(other.x) {}
  Counted& operator=(const Counted&) = default;
  ~Counted() { --now; }
};
struct CountingSemiring {
  using Value = Counted;
  Value zero() const { return -std::numeric_limits<double>::infinity(); }
  Value one() const { return 0.0; }
  Value plus(const Value& a, const Value& b) const { return std::max(a.x, b.x); }
  Value times(const Value& a, const Value& b) const { return a.x + b.x; }
  Value factor(std::int64_t, std::int64_t, std::int64_t, double log_potential) const { return log_potential; }
  Value state(std::int64_t, std::int64_t) const { return 0.0; }
};

}  // namespace

TEST_CASE("semirings: the memory announced is what the tables take, many factors of one scope too") {
  for (const int copies : {1, 9}) {
    FactorGraph<double> graph;
    const auto a = graph.add_variables("a", {3, 3}, 4);
    for (int i = 0; i < copies; ++i)
      for (auto& edges : grid_edges(graph.ids(a)))
        graph.add_factors("edges" + std::to_string(i) + std::to_string(edges(0, 1)), edges,
                          Var<double>(normal_numbers({4, 4}, 13)));
    CountingSemiring counting;
    Counted::most = Counted::now;
    eliminate(graph, counting);
    constexpr double apart = 8 * sizeof(Counted);  // the sum, and what is multiplied at the moment
    const double taken = static_cast<double>(Counted::most) * sizeof(Counted);
    CHECK_THROWS_AS(eliminate(graph, counting, {.memory_limit = taken - apart}), NumericalError);
    CHECK_NOTHROW(eliminate(graph, counting, {.memory_limit = 2 * taken}));
  }
}
