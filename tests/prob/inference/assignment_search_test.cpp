#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/assignment.hpp>
#include <tapestry/prob/inference/assignment_search.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/inference/method.hpp>

#include "prob/random_models.hpp"
#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;

namespace {

using Outcome = detail::AssignmentSearch<double>::Outcome;

constexpr double forbidden = -std::numeric_limits<double>::infinity();

Var<double> differ(std::int64_t states) {
  Tensor<double> out = empty_tensor<double>({states, states});
  for (std::int64_t i = 0; i < states * states; ++i) out.data()[i] = i % (states + 1) == 0 ? forbidden : 0;
  return Var<double>(std::move(out));
}

std::vector<InferenceMethod> methods() {
  return {BeliefPropagation{.iterations = 50, .damping = .3},
          BeliefPropagation{.iterations = 50, .damping = .3, .temperature = 0, .schedule = Schedule::sequential},
          TreeReweighted{.iterations = 50},
          MeanField{},
          StructuredMeanField{},
          GeneralizedMeanField{.cluster_size = 3}};
}

}  // namespace

TEST_CASE("assignments: where each variable's best state is forbidden with the others', possible ones are found") {
  // All states are as good: the most probable of each are the same, and must differ.
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {6}, 2);
  graph.add_factors("differ", index_tensor({6, 2}, {0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 0}), differ(2));
  // In the second example 3 is rather 0, in the first 1.
  Tensor<double> lean = empty_tensor<double>({2, 6, 2});
  std::fill(lean.begin(), lean.end(), 0.0);
  lean(0, 3, 1) = .5;
  lean(1, 3, 0) = .5;
  graph.add_unary("lean", v, Var<double>(std::move(lean)));
  for (const auto& method : methods()) {
    CAPTURE(method.name());
    const auto result = method(graph);
    REQUIRE(result.assignment);
    for (const int example : {0, 1}) {
      // Mean field is near one of both possible assignments from its start on.
      CHECK(std::isfinite(result.assignment_score.data()[example]));
      if (method.name().find("mean field") == std::string::npos)
        CHECK(result.assignment_score.data()[example] == doctest::Approx(.5));
    }
  }
  graph.observe({{0, 0}, {1, 0}});
  for (const auto& method : {InferenceMethod(MeanField{}), InferenceMethod(StructuredMeanField{})})
    CHECK(method(graph).assignment_score.data()[0] == forbidden);
}

TEST_CASE("assignments: random models with many zeros have a possible one by every method") {
  std::mt19937_64 random(21);
  int forbidden_before = 0;
  for (int i = 0; i < 200; ++i) {
    const auto model = testing_models::random_model(
        random, {.variables = 12, .factors = 16, .most_states = 4, .most_arity = 3, .zeros = .5, .spread = .2});
    const auto built = factor_graph<double>(model);
    const auto exact = infer(built.graph, JunctionTree{.maximum = true});
    if (!exact.possible) continue;
    for (const auto& method : methods()) {
      CAPTURE(method.name());
      const auto result = method(built.graph);
      if (!result.assignment) continue;
      CHECK(std::isfinite(result.assignment_score.item()));
      CHECK(result.assignment_score.item() <= exact.assignment_score.item() + 1e-9);
      std::vector<std::int64_t> argmax;
      for (std::size_t g = 0; g < result.variables.size(); ++g) {
        const auto& group = built.graph.variable_groups()[g];
        for (std::int64_t n = 0; n < group.size(); ++n) {
          const double* p = result.variables[g].data() + n * group.cardinality;
          argmax.push_back(std::max_element(p, p + group.cardinality) - p);
        }
      }
      forbidden_before += testing_models::plain_score(built.graph, argmax) == forbidden;
    }
  }
  CHECK(forbidden_before > 5);  // else nothing was tested
}

TEST_CASE("assignments: dead ends are left again, and what is impossible is said to be") {
  const auto search = [](const FactorGraph<double>& graph, std::vector<std::int64_t>& states) {
    std::vector<const double*> potentials;
    std::vector<PotentialLayout> layouts;
    for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
      potentials.push_back(graph.all_potentials()[g].data());
      layouts.push_back(PotentialLayout::of(graph.factor_groups()[g], graph.all_potentials()[g].shape()));
    }
    const std::vector<double> even(static_cast<std::size_t>(graph.structure()->states()), .1);
    return detail::AssignmentSearch<double>(*graph.structure(), potentials, layouts).find(even, states);
  };
  // Eight queens, one in each row.
  FactorGraph<double> queens;
  const auto rows = queens.add_variables("rows", {8}, 8);
  const auto pairs = complete_edges(queens.ids(rows));
  const auto edges = static_cast<std::int64_t>(pairs.shape()[0]);
  Tensor<double> tables = empty_tensor<double>({edges, 8, 8});
  for (std::int64_t e = 0; e < edges; ++e)
    for (std::int64_t a = 0; a < 8; ++a)
      for (std::int64_t b = 0; b < 8; ++b)
        tables.data()[(e * 8 + a) * 8 + b] =
            a != b && std::abs(a - b) != std::abs(pairs.data()[2 * e] - pairs.data()[2 * e + 1]) ? 0 : forbidden;
  queens.add_factors("apart", pairs, Var<double>(std::move(tables)));
  std::vector<std::int64_t> states;
  CHECK(search(queens, states) == Outcome::found);
  CHECK(testing_models::plain_score(queens, states) == 0);
  // Five in a ring of two colours, four each with each in three: none.
  FactorGraph<double> ring;
  ring.add_variables("v", {5}, 2);
  ring.add_factors("differ", index_tensor({5, 2}, {0, 1, 1, 2, 2, 3, 3, 4, 4, 0}), differ(2));
  CHECK(search(ring, states) == Outcome::none);
  FactorGraph<double> four;
  const auto v = four.add_variables("v", {4}, 3);
  four.add_factors("differ", complete_edges(four.ids(v)), differ(3));
  CHECK(search(four, states) == Outcome::none);
}

TEST_CASE("assignments: factors of other kinds, evidence, and a climb to what is better") {
  FactorGraph<double> graph;
  graph.add_variables("v", {5}, 2);
  graph.add_structured("one", FactorKind::at_most_one, index_tensor({1, 4}, {0, 1, 2, 3}),
                       Var<double>(Tensor<double>{0, 1, 2, 3, 4}));
  graph.add_structured("or", FactorKind::logic_or, index_tensor({1, 5}, {0, 1, 2, 3, 4}),
                       Var<double>(Tensor<double>{0, forbidden}));
  graph.observe(4, 1);
  const std::vector<double> beliefs(10, .5);
  std::vector<std::int64_t> states;
  std::vector<const double*> potentials;
  std::vector<PotentialLayout> layouts;
  for (std::size_t g = 0; g < 2; ++g) {
    potentials.push_back(graph.all_potentials()[g].data());
    layouts.push_back(PotentialLayout::of(graph.factor_groups()[g], graph.all_potentials()[g].shape()));
  }
  REQUIRE(detail::AssignmentSearch<double>(*graph.structure(), potentials, layouts).find(beliefs, states) ==
          Outcome::found);
  CHECK(states[4] == 1);
  CHECK(std::isfinite(testing_models::plain_score(graph, states)));
  // The best of two that agree is one flip away from the one that is found first.
  FactorGraph<double> hill;
  hill.add_variables("v", {2}, 3);
  Tensor<double> table = {{0., forbidden, 0.}, {forbidden, 2., 3.}, {0., 0., forbidden}};
  hill.add_factors("f", index_tensor({1, 2}, {0, 1}), Var<double>(std::move(table)));
  const std::vector<double> wrong = {.1, .5, .4, .1, .5, .4};
  REQUIRE(detail::AssignmentSearch<double>(*hill.structure(), {hill.all_potentials()[0].data()},
                                           {PotentialLayout::of(hill.factor_groups()[0], Shape{3, 3})})
              .find(wrong, states) == Outcome::found);
  CHECK(testing_models::plain_score(hill, states) == 3);
}

TEST_CASE("assignments: what is best for each variable apart is refined") {
  FactorGraph<double> graph;
  graph.add_variables("v", {2}, 3);
  Tensor<double> table = {{1., .8, .8}, {.8, -9., 0.}, {.8, 0., -9.}};
  graph.add_factors("f", index_tensor({1, 2}, {0, 1}), Var<double>(std::move(table)));
  auto result = infer(graph, JunctionTree{.maximum = true});
  (*result.assignment)(0) = (*result.assignment)(1) = 1;
  refine_assignment(graph, result);
  CHECK(result.assignment_score.item() == 1);
  result.assignment.reset();
  CHECK_THROWS_AS(refine_assignment(graph, result), GraphError);
}
