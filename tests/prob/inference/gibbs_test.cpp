#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
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

}  // namespace

TEST_CASE("Gibbs marginals agree with exact ones to their standard errors") {
  std::mt19937_64 random(4);
  double errors = 0, normalized = 0;
  int count = 0;
  for (int i = 0; i < 6; ++i) {
    const auto model = testing_models::random_model(random, {.variables = 7, .factors = 10, .most_states = 3});
    auto built = factor_graph<double>(model);
    if (i % 2 == 1) built.graph.observe(3, 0);
    const auto exact = infer(built.graph, JunctionTree{.maximum = true});
    const auto result = infer(built.graph, Gibbs{.iterations = 4000, .burn_in = 200, .seed = 5});
    CHECK(result.converged);
    CHECK(std::abs(result.log_partition.item() - bethe(built.graph, exact)) < .1);
    CHECK(result.assignment_score.item() == doctest::Approx(exact.assignment_score.item()).epsilon(1e-9));
    for (std::size_t g = 0; g < exact.variables.size(); ++g)
      for (std::int64_t s = 0; s < exact.variables[g].size(); ++s) {
        const double difference = result.variables[g].data()[s] - exact.variables[g].data()[s];
        const double error = result.standard_errors[g].data()[s];
        CHECK(std::abs(difference) < 5 * error + 1e-9);
        CHECK(error < .02);
        if (error > 1e-9) {
          normalized += difference * difference / (error * error);
          errors += error;
          ++count;
        }
      }
  }
  // The errors are of the right size, not only large enough.
  CHECK(normalized / count > .4);
  CHECK(normalized / count < 2.2);
  CHECK(errors > 0);
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
