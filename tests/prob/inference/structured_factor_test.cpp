#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/inference/method.hpp>
#include <tapestry/prob/inference/structured_factor.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;
using testing_models::normal_numbers;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr FactorKind kinds[] = {FactorKind::parity, FactorKind::logic_or, FactorKind::logic_and,
                                FactorKind::cardinality, FactorKind::at_most_one};

std::size_t entries_of(FactorKind kind, std::int64_t arity) {
  return kind == FactorKind::cardinality || kind == FactorKind::at_most_one ? static_cast<std::size_t>(arity + 1) : 2;
}

/// What a factor says about all assignments: their scores, and which potential each takes.
struct Enumerated {
  std::vector<std::vector<std::int64_t>> states;
  std::vector<double> scores;
  std::vector<std::int64_t> entries;
};
Enumerated enumerate(FactorKind kind, std::int64_t arity, const std::vector<double>& potentials,
                     const std::vector<double>& cavities) {
  const FactorStructure structure{
      "factor", kind, Indices(index_tensor({1, arity}, std::vector<std::int64_t>(static_cast<std::size_t>(arity), 0))),
      std::vector<std::int64_t>(static_cast<std::size_t>(arity), 2)};
  Enumerated out;
  for (std::size_t number = 0; number < std::size_t{1} << arity; ++number) {
    std::vector<std::int64_t> x;
    double score = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(arity); ++i) {
      x.push_back(static_cast<std::int64_t>(number >> i & 1));
      score += cavities[2 * i + static_cast<std::size_t>(x[i])];
    }
    const std::int64_t entry = structure.entry(x.data());
    out.scores.push_back(entry < 0 ? -infinity : score + potentials[static_cast<std::size_t>(entry)]);
    out.entries.push_back(entry);
    out.states.push_back(std::move(x));
  }
  return out;
}

bool near(double a, double b) {
  return a == b || std::abs(a - b) <= 1e-11 * (1 + std::abs(b));
}

/// t log sum exp(x / t), the maximum at t = 0.
double soft_sum(std::vector<double> x, double t) {
  if (t == 0) return *std::max_element(x.begin(), x.end());
  for (double& one : x) one /= t;
  return t * testing_models::log_sum(x);
}

/// The derivatives of a soft sum by its terms.
double share(double x, double sum, double t) {
  return x == -infinity ? 0 : t == 0 ? (near(x, sum) ? 1 : 0) : std::exp((x - sum) / t);
}

}  // namespace

TEST_CASE("structured factors: messages, log-partition and gradients are those of enumeration, impossible states too") {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal(0, 1.5);
  std::uniform_real_distribution<double> uniform(0, 1);
  int impossible = 0, possible = 0;
  for (int round = 0; round < 240; ++round) {
    const FactorKind kind = kinds[round % 5];
    const std::int64_t arity = 1 + round / 5 % 6;
    const auto n = static_cast<std::size_t>(arity);
    const double temperature = std::vector<double>{1, .4, 0}[static_cast<std::size_t>(round) / 30 % 3];
    const double forbidden = round % 2 == 0 ? 0 : .2;
    CAPTURE(round);
    const auto draw = [&](std::size_t size) {
      std::vector<double> out(size);
      for (double& x : out) x = uniform(random) < forbidden ? -infinity : normal(random);
      return out;
    };
    const auto potentials = draw(entries_of(kind, arity)), cavities = draw(2 * n);
    const auto all = enumerate(kind, arity, potentials, cavities);
    std::vector<double> messages(2 * n);
    detail::StructuredFactor factor(kind, arity, temperature);
    const double log_partition = factor.forward(potentials.data(), cavities.data(), messages.data());
    const double expected = soft_sum(all.scores, temperature);
    CHECK(near(log_partition, expected));
    ++(expected == -infinity ? impossible : possible);

    // A message's terms leave the receiver's own cavity out, which may be -inf.
    std::vector<double> g_messages(2 * n), g_potentials(potentials.size(), 0), g_cavities(2 * n, 0);
    for (double& g : g_messages) g = normal(random);
    auto e_potentials = g_potentials, e_cavities = g_cavities;
    const double g_partition = normal(random);
    const auto spread = [&](const Enumerated& terms, double sum, double g, std::size_t skipped) {
      for (std::size_t a = 0; a < terms.scores.size(); ++a) {
        const double part = g * share(terms.scores[a], sum, temperature);
        if (part == 0) continue;
        e_potentials[static_cast<std::size_t>(terms.entries[a])] += part;
        for (std::size_t i = 0; i < n; ++i)
          if (i != skipped) e_cavities[2 * i + static_cast<std::size_t>(terms.states[a][i])] += part;
      }
    };
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t x = 0; x < 2; ++x) {
        auto others = cavities;
        others[2 * i + x] = 0;
        others[2 * i + 1 - x] = -infinity;
        const auto terms = enumerate(kind, arity, potentials, others);
        const double message = soft_sum(terms.scores, temperature);
        CHECK(near(messages[2 * i + x], message));
        if (message != -infinity) spread(terms, message, g_messages[2 * i + x], i);
      }
    if (expected != -infinity) spread(all, expected, g_partition, n);
    factor.backward(g_messages.data(), expected == -infinity ? 0 : g_partition, g_potentials.data(), g_cavities.data());
    for (std::size_t e = 0; e < potentials.size(); ++e) CHECK(near(g_potentials[e], e_potentials[e]));
    for (std::size_t m = 0; m < 2 * n; ++m) CHECK(near(g_cavities[m], e_cavities[m]));
  }
  CHECK(impossible > 5);
  CHECK(possible > 100);
}

namespace {

/// Pairs of different cardinalities with a table for each direction, joined to one structured factor; soft evidence on
/// all, in a batch of two.
FactorGraph<double> mixed(FactorKind kind, const std::vector<Var<double>>& x) {
  FactorGraph<double> graph;
  const auto bits = graph.add_variables("bits", {5}, 2), more = graph.add_variables("more", {2}, 3);
  graph.add_unary("soft evidence", bits, x[0]);
  graph.add_structured("structured", kind, index_tensor({1, 5}, {3, 0, 4, 1, 2}), x[1]);
  graph.add_factors("there", index_tensor({1, 2}, {0, graph.ids(more)(0)}), x[2]);
  graph.add_factors("back", index_tensor({1, 2}, {graph.ids(more)(1), 1}), x[3]);
  return graph;
}

std::vector<Var<double>> mixed_potentials(FactorKind kind, bool zeros) {
  std::vector<Tensor<double>> x = {normal_numbers({2, 5, 2}, 1),
                                   normal_numbers({2, 1, static_cast<std::int64_t>(entries_of(kind, 5))}, 2),
                                   normal_numbers({2, 3}, 3), normal_numbers({2, 1, 3, 2}, 4)};
  if (zeros) {
    x[0].data()[5] = x[2].data()[1] = -infinity;
    x[1].data()[1] = -infinity;
  }
  std::vector<Var<double>> out;
  for (auto& potentials : x) out.emplace_back(std::move(potentials), true);
  return out;
}

}  // namespace

TEST_CASE("structured factors in graphs: every method, with evidence, soft evidence, zeros and a batch") {
  const InferenceMethod exact[] = {
      JunctionTree{}, BeliefPropagation{},
      BeliefPropagation{.schedule = Schedule::residual, .gradient = GradientMode::implicit},
      TreeReweighted{.tolerance = 1e-12, .damping = 0, .weights = {1, 1, 1, 1}},
      GeneralizedMeanField{.clusters = std::vector<std::int64_t>(7, 0)}};
  const InferenceMethod bounds[] = {MeanField{}, StructuredMeanField{}, GeneralizedMeanField{.cluster_size = 3}};
  for (const FactorKind kind : kinds)
    for (const bool zeros : {false, true}) {
      auto x = mixed_potentials(kind, zeros);
      auto graph = mixed(kind, x);
      if (zeros) graph.observe({{4, 0}, {6, 2}});
      CAPTURE(static_cast<int>(kind));
      CAPTURE(zeros);
      std::vector<double> log_partition;
      std::vector<std::vector<double>> bit(2, std::vector<double>(10, 0));
      const auto assignments = testing_models::all_assignments(graph);
      for (std::int64_t b = 0; b < 2; ++b) {
        std::vector<double> scores;
        for (const auto& states : assignments) scores.push_back(testing_models::plain_score(graph, states, b));
        log_partition.push_back(testing_models::log_sum(scores));
        for (std::size_t a = 0; a < scores.size(); ++a)
          for (std::size_t v = 0; v < 5; ++v)
            bit[static_cast<std::size_t>(b)][2 * v + static_cast<std::size_t>(assignments[a][v])] +=
                std::exp(scores[a] - log_partition.back());
      }
      for (const auto& method : exact) {
        CAPTURE(method.name());
        const auto result = method(graph);
        for (auto& potentials : x) potentials.zero_gradient();
        sum(result.log_partition).backward();
        for (std::int64_t b = 0; b < 2; ++b) {
          CHECK(near(result.log_partition.data()[b], log_partition[static_cast<std::size_t>(b)]));
          for (std::int64_t i = 0; i < 10; ++i) {
            const double p = bit[static_cast<std::size_t>(b)][static_cast<std::size_t>(i)];
            CHECK(std::abs(result.variables[0].data()[10 * b + i] - p) < 1e-10);
            // The soft evidence's gradient is the marginal.
            CHECK(std::abs(x[0].gradient().data()[10 * b + i] - p) < 1e-9);
          }
        }
      }
      for (const auto& method : bounds) {
        CAPTURE(method.name());
        const auto result = method(graph);
        for (std::int64_t b = 0; b < 2; ++b) {
          CHECK(result.log_partition.data()[b] <= log_partition[static_cast<std::size_t>(b)] + 1e-10);
          CHECK(result.log_partition.data()[b] > log_partition[static_cast<std::size_t>(b)] - 5);
        }
      }
      const auto sampled = infer(graph, Gibbs{.iterations = 4000, .burn_in = 100, .blocks = GibbsBlocks::trees});
      if (!zeros)
        for (std::size_t i = 0; i < 20; ++i)
          CHECK(std::abs(sampled.variables[0].data()[i] - bit[i / 10][i % 10]) < .05);
    }
}

TEST_CASE("structured factors over a thousand variables have the partition functions of algebra") {
  constexpr std::int64_t n = 1000;
  const auto fields = normal_numbers({n, 2}, 9, .3);
  // Per variable: the weight of both states, of one over zero, and what parity's generating function takes.
  double both = 0, none = 0, ratios = 0, alternating = 0, sign = 1;
  for (std::size_t i = 0; i < n; ++i) {
    const double zero = fields(i, 0), one = fields(i, 1);
    both += std::log(std::exp(zero) + std::exp(one));
    none += zero;
    alternating += std::log(std::abs(std::tanh((zero - one) / 2)));
    sign *= zero < one ? -1 : 1;
  }
  const auto one_entry = normal_numbers({n + 1}, 10);
  for (std::size_t i = 0; i < n; ++i) ratios += std::exp(fields(i, 1) - fields(i, 0) + one_entry(i + 1));
  const auto log_partition = [&](FactorKind kind, Tensor<double> potentials) {
    FactorGraph<double> graph;
    const auto a = graph.add_variables("a", {n}, 2);
    graph.add_unary("fields", a, Var<double>(fields));
    std::vector<std::int64_t> scope(n);
    for (std::size_t i = 0; i < n; ++i) scope[i] = static_cast<std::int64_t>(i);
    graph.add_structured("all", kind, index_tensor({1, n}, scope), Var<double>(std::move(potentials)));
    const auto result = infer(graph, BeliefPropagation{.iterations = 5});
    CHECK(result.converged);
    return result.log_partition.item();
  };
  const double tilt = sign * std::exp(alternating);
  CHECK(near(log_partition(FactorKind::parity, {.5, -.25}),
             both + std::log(std::exp(.5) * (1 + tilt) / 2 + std::exp(-.25) * (1 - tilt) / 2)));
  // The last is the OR of the others but for what all others being zero weighs.
  const double last_zero = fields(n - 1, 0), last_one = fields(n - 1, 1),
               last_both = std::log(std::exp(last_zero) + std::exp(last_one));
  const double others = both - last_both, others_zero = none - last_zero - others;
  const double rest = std::log1p(-std::exp(others_zero));
  CHECK(near(log_partition(FactorKind::logic_or, {.5, -.25}),
             others + testing_models::log_sum({others_zero + last_zero + .5, others_zero + last_one - .25,
                                               rest + last_one + .5, rest + last_zero - .25})));
  double others_one = -others;
  for (std::size_t i = 0; i + 1 < n; ++i) others_one += fields(i, 1);
  const double not_all = std::log1p(-std::exp(others_one));
  CHECK(near(log_partition(FactorKind::logic_and, {.5, -.25}),
             others + testing_models::log_sum({others_one + last_one + .5, others_one + last_zero - .25,
                                               not_all + last_zero + .5, not_all + last_one - .25})));
  CHECK(near(log_partition(FactorKind::at_most_one, one_entry), none + std::log(std::exp(one_entry(0)) + ratios)));
  // A weight of c k for k ones is a field of c on each variable.
  Tensor<double> linear = empty_tensor<double>({n + 1});
  for (std::size_t k = 0; k <= n; ++k) linear(k) = .2 * static_cast<double>(k);
  double with_field = 0;
  for (std::size_t i = 0; i < n; ++i) with_field += std::log(std::exp(fields(i, 0)) + std::exp(fields(i, 1) + .2));
  CHECK(near(log_partition(FactorKind::cardinality, linear), with_field));
}
