#include <tapestry/prob/inference/enumeration.hpp>

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/inference/method.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::all_assignments;
using testing_models::index_tensor;
using testing_models::log_sum;
using testing_models::normal_variables;
using testing_models::plain_score;

namespace {

/// Unary, shared and own tables in a batch of two, a factor of parity and at most one of three.
FactorGraph<double> mixed_graph(const std::vector<Var<double>>& x) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {2, 2}, 2);
  graph.add_variables("b", {2}, 3);
  graph.add_unary("unary", a, x[0]);
  graph.add_factors("pairs", index_tensor({2, 2}, {0, 4, 3, 5}), x[1]);
  graph.add_factors("triple", index_tensor({1, 3}, {1, 5, 4}), x[2]);
  graph.add_structured("parity", FactorKind::parity, index_tensor({1, 3}, {0, 1, 2}), x[3]);
  graph.add_structured("one", FactorKind::at_most_one, index_tensor({1, 3}, {1, 2, 3}), x[4]);
  graph.observe(4, 2);
  return graph;
}
std::vector<Var<double>> mixed_potentials() {
  return normal_variables({{2, 2, 2, 2}, {2, 3}, {1, 2, 3, 3}, {2}, {4}});
}

}  // namespace

TEST_CASE("enumeration: everything in a result is that of plain loops") {
  const auto x = mixed_potentials();
  const auto graph = mixed_graph(x);
  const auto result = infer(graph, Enumeration{});
  CHECK(result.kind == BoundKind::exact);
  CHECK(result.log_partition.shape() == Shape{2});
  const auto all = all_assignments(graph);
  CHECK(result.trace.updates == static_cast<std::int64_t>(2 * all.size()));
  for (std::int64_t b = 0; b < 2; ++b) {
    std::vector<double> scores;
    for (const auto& states : all) scores.push_back(plain_score(graph, states, b));
    const double log_partition = log_sum(scores);
    CHECK(result.log_partition.data()[b] == doctest::Approx(log_partition).epsilon(1e-13));
    CHECK(result.assignment_score.data()[b] ==
          doctest::Approx(*std::max_element(scores.begin(), scores.end())).epsilon(1e-13));
    std::vector<std::vector<double>> variables, factors;
    for (const auto& group : result.variables) variables.emplace_back(static_cast<std::size_t>(group.size() / 2), 0.);
    for (const auto& group : result.factors) factors.emplace_back(static_cast<std::size_t>(group.size() / 2), 0.);
    for (std::size_t a = 0; a < all.size(); ++a) {
      const double p = std::exp(scores[a] - log_partition);
      for (std::size_t v = 0; v < 6; ++v)
        variables[v / 4][v < 4 ? v * 2 + static_cast<std::size_t>(all[a][v])
                               : (v - 4) * 3 + static_cast<std::size_t>(all[a][v])] += p;
      for (std::size_t g = 0; g < factors.size(); ++g) {
        const auto& group = graph.factor_groups()[g];
        const auto entries = static_cast<std::int64_t>(factors[g].size()) / group.factors();
        for (std::int64_t f = 0; f < group.factors(); ++f) {
          std::vector<std::int64_t> states;
          for (std::int64_t i = 0; i < group.arity(); ++i)
            states.push_back(all[a][static_cast<std::size_t>(group.scopes[f * group.arity() + i])]);
          const std::int64_t entry = group.entry(states.data());
          if (entry >= 0) factors[g][static_cast<std::size_t>(f * entries + entry)] += p;
        }
      }
    }
    for (std::size_t g = 0; g < variables.size(); ++g)
      for (std::size_t i = 0; i < variables[g].size(); ++i)
        CHECK(std::abs(result.variables[g].data()[static_cast<std::size_t>(b) * variables[g].size() + i] -
                       variables[g][i]) < 1e-14);
    for (std::size_t g = 0; g < factors.size(); ++g)
      for (std::size_t i = 0; i < factors[g].size(); ++i)
        CHECK(std::abs(result.factors[g].data()[static_cast<std::size_t>(b) * factors[g].size() + i] - factors[g][i]) <
              1e-14);
  }
}

TEST_CASE("enumeration: two orders of derivatives of all that it gives") {
  check_gradients(
      [](const std::vector<Var<double>>& x) {
        const auto r = infer(mixed_graph(x), Enumeration{});
        Var<double> total = sum(r.log_partition);
        for (const auto& p : r.variables) total = total + sum(p * p);
        for (const auto& p : r.factors) total = total + sum(p * p * p);
        return total;
      },
      mixed_potentials(), {.order = 2, .tolerance = 1e-5});
}

TEST_CASE("enumeration: refuses what is too much before it begins, and says when nothing is possible") {
  const auto x = mixed_potentials();
  auto graph = mixed_graph(x);
  CHECK_THROWS_WITH_AS(infer(graph, Enumeration{.limit = 1000}), doctest::Contains("48 assignments"), NumericalError);
  CHECK_NOTHROW(infer(graph, Enumeration{.limit = 48 * 15 * 2}));
  CHECK_THROWS_AS(infer(graph, Enumeration{.limit = 48 * 15 * 2 - 1}), NumericalError);
  FactorGraph<double> wide;
  wide.add_unary("u", wide.add_variables("v", {4000}, 1000), Var<double>::zeros({1000}));
  CHECK_THROWS_AS(infer(wide, Enumeration{}), NumericalError);
  for (const std::int64_t v : {1, 2}) graph.observe(v, 1);  // at most one of these
  const auto none = infer(graph, InferenceMethod(Enumeration{.factor_marginals = false}));
  CHECK_FALSE(none.possible);
  CHECK_FALSE(none.assignment.has_value());
  CHECK(none.factors.empty());
  for (std::int64_t b = 0; b < 2; ++b) CHECK(none.log_partition.data()[b] == -std::numeric_limits<double>::infinity());
  for (std::int64_t i = 0; i < none.variables[1].size(); ++i) CHECK(none.variables[1].data()[i] == 0);
  graph.clear_evidence();
  graph.set_potentials(3, Var<double>(Tensor<double>(NAN * normal_variables({{2}})[0].value())));
  CHECK_THROWS_WITH_AS(infer(graph, Enumeration{}), doctest::Contains("'parity'"), NumericalError);
}

TEST_CASE("enumeration: the assignment is the best of all, before any search") {
  // The worst assignment is possible too, and a search from it would end in a poor one.
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {4}, 2);
  graph.add_unary("unary", a, Var<double>(Tensor<double>{{0, 1}, {0, 1}, {0, 1}, {0, 1}}));
  graph.add_potts("edges", index_tensor({3, 2}, {0, 1, 1, 2, 2, 3}), Var<double>(9.0));
  const auto result = infer(graph, Enumeration{});
  REQUIRE(result.assignment.has_value());
  for (std::int64_t v = 0; v < 4; ++v) CHECK((*result.assignment)(v) == 1);
  CHECK(result.assignment_score.item() == doctest::Approx(31));
}
