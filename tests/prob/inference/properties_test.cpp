#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/bound_checks.hpp>
#include <tapestry/prob/inference/exact.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/inference/method.hpp>

#include "prob/random_models.hpp"
#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::random_evidence;
using testing_models::random_model;

namespace {

/// Marginals of the model's variables, whatever groups they are in.
std::vector<std::vector<double>> marginals_of(const ModelGraph<double>& built, const InferenceResult<double>& result) {
  std::vector<std::vector<double>> out;
  for (const std::int64_t v : built.variable) {
    std::size_t g = 0;
    while (v >= built.graph.variable_groups()[g].first + built.graph.variable_groups()[g].size()) ++g;
    const auto& group = built.graph.variable_groups()[g];
    const double* p = result.variables[g].data() + (v - group.first) * group.cardinality;
    out.emplace_back(p, p + group.cardinality);
  }
  return out;
}

ModelGraph<double> build(const DiscreteModel& model, const Evidence& evidence) {
  auto built = factor_graph<double>(model);
  for (const auto& [variable, state] : evidence)
    built.graph.observe(built.variable[static_cast<std::size_t>(variable)], state);
  return built;
}

double largest_difference(const std::vector<std::vector<double>>& a, const std::vector<std::vector<double>>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t k = 0; k < a[i].size(); ++k) {
      const double difference = std::abs(a[i][k] - b[i][k]);
      if (!(difference <= largest)) largest = difference;
    }
  return largest;
}

/// A model whose factors form no cycles.
DiscreteModel random_tree(std::mt19937_64& random, double zeros) {
  auto model = random_model(random, {.variables = 7, .factors = 0, .most_states = 4});
  std::normal_distribution<double> normal(0, 1);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (std::int64_t v = 0; v < model.variables(); ++v) {
    std::vector<std::int64_t> scope{v};
    if (v > 0) scope.insert(scope.begin(), std::uniform_int_distribution<std::int64_t>(0, v - 1)(random));
    std::size_t size = 1;
    for (const auto w : scope) size *= static_cast<std::size_t>(model.cardinalities[static_cast<std::size_t>(w)]);
    std::vector<double> table(size);
    for (double& x : table) x = uniform(random) < zeros ? 0 : std::exp(normal(random));
    table[0] = 1;
    model.scopes.push_back(scope);
    model.tables.push_back(table);
  }
  return model;
}

const InferenceMethod deterministic[] = {
    JunctionTree{},
    BeliefPropagation{.iterations = 300, .damping = .3},
    BeliefPropagation{
        .iterations = 300, .damping = .3, .schedule = Schedule::sequential, .gradient = GradientMode::likelihood},
    TreeReweighted{.iterations = 500, .damping = .5},
    MeanField{.iterations = 50},
    MeanField{.iterations = 200, .update = MeanFieldUpdate::parallel, .damping = .5},
    StructuredMeanField{.iterations = 50},
};

}  // namespace

TEST_CASE("random graphs: exact methods agree with enumeration, bounds bound, evidence or not") {
  const BoundChecks checks;
  const auto before = BoundChecks::made();
  std::mt19937_64 random(77);
  int converged = 0, impossible = 0;
  for (int i = 0; i < 40; ++i) {
    CAPTURE(i);
    const auto model = random_model(random, {.variables = 7, .factors = 11, .zeros = i % 4 == 3 ? .3 : 0});
    const auto evidence = random_evidence(random, model, i % 2 == 0 ? 0 : .3);
    const auto expected = enumerate_marginals(model, evidence);
    const auto built = build(model, evidence);
    const auto exact = infer(built.graph, JunctionTree{});
    REQUIRE(exact.possible == expected.possible);
    if (!expected.possible) {
      ++impossible;
      CHECK(exact.log_partition.item() == -std::numeric_limits<double>::infinity());
      continue;
    }
    CHECK(exact.log_partition.item() == doctest::Approx(expected.log_partition).epsilon(1e-12));
    CHECK(largest_difference(marginals_of(built, exact), expected.variables) < 1e-12);
    // Each of these throws where its bound is on the wrong side.
    const auto upper = infer(built.graph, TreeReweighted{.iterations = 500, .damping = .5});
    converged += upper.converged;
    infer(built.graph, StructuredMeanField{});
    infer(built.graph, GeneralizedMeanField{.cluster_size = 3});
    const auto lower = infer(built.graph, MeanField{});
    CHECK(lower.log_partition.item() <= expected.log_partition + 1e-9);
    if (i % 4 != 3) infer(built.graph, MeanField{.update = MeanFieldUpdate::parallel, .damping = .5});
    if (upper.converged) CHECK(upper.log_partition.item() >= expected.log_partition - 1e-6);
  }
  CHECK(converged >= 30);
  CHECK(impossible >= 1);
  CHECK(BoundChecks::made() - before >= 130);
}

TEST_CASE("random trees: belief propagation is exact, with zeros and evidence") {
  std::mt19937_64 random(78);
  for (int i = 0; i < 40; ++i) {
    CAPTURE(i);
    const auto model = random_tree(random, i % 2 == 0 ? 0 : .3);
    const auto evidence = random_evidence(random, model, i % 3 == 0 ? 0 : .25);
    const auto expected = enumerate_marginals(model, evidence);
    const auto built = build(model, evidence);
    const auto result = infer(built.graph, BeliefPropagation{});
    REQUIRE(result.possible == expected.possible);
    if (!expected.possible) continue;
    CHECK(result.converged);
    CHECK(result.log_partition.item() == doctest::Approx(expected.log_partition).epsilon(1e-10));
    CHECK(largest_difference(marginals_of(built, result), expected.variables) < 1e-10);
  }
}

TEST_CASE("random graphs: moving potentials between factors changes no result") {
  // Any function of one variable goes from one factor to another one.
  std::mt19937_64 random(79);
  std::normal_distribution<double> normal(0, 1);
  for (int i = 0; i < 8; ++i) {
    auto model = random_model(random, {.variables = 6, .factors = 9, .most_states = 3});
    for (std::int64_t v = 0; v < model.variables(); ++v) {
      model.scopes.push_back({v});
      model.tables.emplace_back(static_cast<std::size_t>(model.cardinalities[static_cast<std::size_t>(v)]), 1.0);
    }
    auto moved = model;
    for (std::size_t f = 0; f < 9; ++f) {
      const auto& scope = model.scopes[f];
      if (scope.empty()) continue;
      const std::int64_t v = scope[0], K = model.cardinalities[static_cast<std::size_t>(v)];
      auto& table = moved.tables[f];
      const std::size_t inner = table.size() / static_cast<std::size_t>(K);
      for (std::int64_t k = 0; k < K; ++k) {
        const double factor = std::exp(normal(random));
        for (std::size_t e = 0; e < inner; ++e) table[static_cast<std::size_t>(k) * inner + e] *= factor;
        moved.tables[9 + static_cast<std::size_t>(v)][static_cast<std::size_t>(k)] /= factor;
      }
    }
    const auto a = build(model, {}), b = build(moved, {});
    for (const auto& method : deterministic) {
      CAPTURE(method.name());
      const auto x = method(a.graph), y = method(b.graph);
      if (!x.converged || !y.converged) continue;
      // Mean field may start elsewhere and end in another optimum; what it then finds is a bound all the same.
      if (x.kind == BoundKind::lower_bound && std::abs(x.log_partition.item() - y.log_partition.item()) > 1e-5)
        continue;
      CHECK(x.log_partition.item() == doctest::Approx(y.log_partition.item()).epsilon(1e-6));
      CHECK(largest_difference(marginals_of(a, x), marginals_of(b, y)) < 1e-4);
    }
  }
}

TEST_CASE("random graphs: other names of variables and states change no result") {
  std::mt19937_64 random(80);
  for (int i = 0; i < 8; ++i) {
    const auto model = random_model(random, {.variables = 6, .factors = 9, .most_states = 3});
    // Variable v is renamed to name[v], its state k to states[v][k].
    std::vector<std::int64_t> name(6);
    std::iota(name.begin(), name.end(), 0);
    std::shuffle(name.begin(), name.end(), random);
    std::vector<std::vector<std::int64_t>> states;
    auto renamed = model;
    for (std::size_t v = 0; v < 6; ++v) {
      states.emplace_back(static_cast<std::size_t>(model.cardinalities[v]));
      std::iota(states.back().begin(), states.back().end(), 0);
      std::shuffle(states.back().begin(), states.back().end(), random);
      renamed.cardinalities[static_cast<std::size_t>(name[v])] = model.cardinalities[v];
    }
    for (std::size_t f = 0; f < model.scopes.size(); ++f) {
      const auto& scope = model.scopes[f];
      for (std::size_t at = 0; at < scope.size(); ++at)
        renamed.scopes[f][at] = name[static_cast<std::size_t>(scope[at])];
      for (std::size_t entry = 0; entry < model.tables[f].size(); ++entry) {
        std::size_t rest = entry, to = 0, stride = 1;
        for (std::size_t at = scope.size(); at-- > 0;) {
          const auto v = static_cast<std::size_t>(scope[at]);
          const auto K = static_cast<std::size_t>(model.cardinalities[v]);
          to += stride * static_cast<std::size_t>(states[v][rest % K]);
          rest /= K;
          stride *= K;
        }
        renamed.tables[f][to] = model.tables[f][entry];
      }
    }
    const auto a = build(model, {}), b = build(renamed, {});
    // Those whose order of updates does not depend on names.
    for (const InferenceMethod& method : {deterministic[0], deterministic[1], deterministic[5]}) {
      CAPTURE(method.name());
      const auto x = method(a.graph), y = method(b.graph);
      CHECK(x.log_partition.item() == doctest::Approx(y.log_partition.item()).epsilon(1e-7));
      const auto p = marginals_of(a, x), q = marginals_of(b, y);
      for (std::size_t v = 0; v < 6; ++v)
        for (std::size_t k = 0; k < p[v].size(); ++k)
          CHECK(std::abs(p[v][k] - q[static_cast<std::size_t>(name[v])][static_cast<std::size_t>(states[v][k])]) <
                1e-6);
    }
  }
}

TEST_CASE("random batches: every method gives what it gives for each element alone") {
  using testing_models::normal_numbers;
  const auto build_batch = [](std::int64_t batch, std::int64_t only) {
    FactorGraph<double> graph;
    const auto a = graph.add_variables("a", {2, 3}, 3);
    const auto part = [&](Tensor<double> all, Shape each) {
      if (batch > 0) return Var<double>(std::move(all));
      Tensor<double> own = empty_tensor<double>(each);
      std::copy_n(all.data() + only * each.elements(), each.elements(), own.data());
      return Var<double>(std::move(own));
    };
    graph.add_unary("unary", a, part(normal_numbers({4, 2, 3, 3}, 1), {2, 3, 3}));
    const auto edges = concatenate_edges(grid_edges(graph.ids(a)));
    graph.add_factors("edges", edges, part(normal_numbers({4, 7, 3, 3}, 2, .6), {7, 3, 3}));
    graph.observe(2, 1);
    return graph;
  };
  const auto all = build_batch(4, 0);
  for (const auto& method : deterministic) {
    CAPTURE(method.name());
    const auto whole = method(all);
    for (std::int64_t b = 0; b < 4; ++b) {
      const auto alone = method(build_batch(0, b));
      CHECK(whole.log_partition.data()[b] == doctest::Approx(alone.log_partition.item()).epsilon(1e-10));
      for (std::int64_t e = 0; e < alone.variables[0].size(); ++e)
        CHECK(std::abs(whole.variables[0].data()[b * alone.variables[0].size() + e] - alone.variables[0].data()[e]) <
              1e-7);
    }
  }
}
