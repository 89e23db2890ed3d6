#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/exact.hpp>
#include <tapestry/prob/inference/exact_plan.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>

#include "prob/normal_numbers.hpp"
#include "prob/random_models.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

IndexTensor indices(const Shape& shape, const std::vector<std::int64_t>& values) {
  IndexTensor out = empty_tensor<std::int64_t>(shape);
  std::copy(values.begin(), values.end(), out.data());
  return out;
}

/// A loopy graph of all kinds of factors, of the potentials x.
FactorGraph<double> zoo(const std::vector<Var<double>>& x) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {3}, 3);
  const auto b = graph.add_variables("b", {4}, 2);
  graph.add_unary("unary", a, x[0]);
  graph.add_factors("pairs", complete_edges(graph.ids(a)), x[1]);
  graph.add_factors("mixed", bipartite_edges(graph.ids(a), graph.ids(b)), x[2]);
  graph.add_structured("parity", FactorKind::parity, indices({2, 3}, {3, 4, 5, 4, 5, 6}), x[3]);
  graph.add_structured("or", FactorKind::logic_or, indices({1, 3}, {3, 6, 4}), x[4]);
  graph.add_structured("one", FactorKind::at_most_one, indices({1, 3}, {3, 5, 6}), x[5]);
  return graph;
}

std::vector<Var<double>> zoo_potentials(bool batched) {
  std::vector<Var<double>> x;
  std::uint64_t seed = 20;
  for (const Shape& shape : {batched ? Shape{2, 3, 3} : Shape{3, 3}, Shape{3, 3},
                             batched ? Shape{2, 1, 3, 2} : Shape{12, 3, 2}, Shape{2, 2}, Shape{2}, Shape{1, 4}})
    x.emplace_back(normal_numbers(shape, ++seed), true);
  return x;
}

/// log of the sum over all assignments of exp(score), and the marginals of the first variable group.
double enumerate(const FactorGraph<double>& graph, std::int64_t batch, std::vector<double>* marginals = nullptr) {
  const std::int64_t n = graph.variables();
  IndexTensor x = empty_tensor<std::int64_t>({n});
  std::fill(x.begin(), x.end(), 0);
  double total = 0;
  const auto& group = graph.variable_groups()[0];
  if (marginals) marginals->assign(static_cast<std::size_t>(group.size() * group.cardinality), 0);
  while (true) {
    const double p = std::exp(graph.score(x).data()[batch]);
    total += p;
    if (marginals)
      for (std::int64_t v = 0; v < group.size(); ++v)
        (*marginals)[static_cast<std::size_t>(v * group.cardinality + x.data()[v])] += p;
    std::int64_t v = n;
    while (v > 0 && ++x.data()[v - 1] == graph.cardinality(v - 1)) x.data()[--v] = 0;
    if (v == 0) break;
  }
  if (marginals)
    for (double& p : *marginals) p /= total;
  return std::log(total);
}

}  // namespace

TEST_CASE("exact inference in all kinds of factors, with a batch, agrees with enumeration") {
  for (const bool batched : {false, true}) {
    auto graph = zoo(zoo_potentials(batched));
    for (const bool evidence : {false, true}) {
      if (evidence) graph.observe({{1, 2}, {5, 1}});
      const auto result = infer(graph, JunctionTree{.maximum = true});
      CHECK(result.kind == BoundKind::exact);
      CHECK(result.log_partition.shape() == (batched ? Shape{2} : Shape{}));
      CHECK(result.variables[0].shape() == (batched ? Shape{2, 3, 3} : Shape{3, 3}));
      CHECK(result.factors[2].shape() == (batched ? Shape{2, 12, 3, 2} : Shape{12, 3, 2}));
      for (std::int64_t b = 0; b < (batched ? 2 : 1); ++b) {
        std::vector<double> marginals;
        CHECK(result.log_partition.data()[b] == doctest::Approx(enumerate(graph, b, &marginals)).epsilon(1e-13));
        for (std::size_t i = 0; i < marginals.size(); ++i)
          CHECK(result.variables[0].data()[static_cast<std::size_t>(b) * 9 + i] ==
                doctest::Approx(marginals[i]).epsilon(1e-12));
        CHECK(result.assignment_score.data()[b] < result.log_partition.data()[b]);
      }
    }
  }
}

TEST_CASE("the exact log-partition is differentiable twice, marginals once") {
  for (const bool batched : {false, true}) {
    const auto x = zoo_potentials(batched);
    CheckGradientsOptions options{.order = 2};
    options.name = "log-partition";
    check_gradients([](const std::vector<Var<double>>& v) { return infer(zoo(v), JunctionTree{}).log_partition; }, x,
                    options);
    options = {.order = 1, .name = "marginals"};
    check_gradients(
        [](const std::vector<Var<double>>& v) {
          auto graph = zoo(v);
          graph.observe(4, 1);
          const auto r = infer(graph, JunctionTree{});
          return sum(r.variables[0] * r.variables[0]) + sum(r.factors[2] * r.factors[2]) +
                 sum(r.factors[3] * r.factors[3]);
        },
        x, options);
  }
}

TEST_CASE("factor marginals are the gradient, also for impossible states and shared tables") {
  Tensor<double> table = normal_numbers({3, 3}, 5);
  table(1, 2) = -std::numeric_limits<double>::infinity();
  const Var<double> pair(table, true);
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {5}, 3);
  graph.add_factors("pairs", complete_edges(graph.ids(a)), pair);
  const auto result = infer(graph, JunctionTree{});
  result.log_partition.backward();
  double total = 0;
  for (std::size_t i = 0; i < 9; ++i) {
    double expected = 0;
    for (std::size_t f = 0; f < 10; ++f) expected += result.factors[0].data()[f * 9 + i];
    CHECK(pair.gradient().data()[i] == doctest::Approx(expected).epsilon(1e-13));
    total += expected;
  }
  CHECK(pair.gradient()(1, 2) == 0);
  CHECK(total == doctest::Approx(10));
}

TEST_CASE("evidence of probability zero gives -inf, and no NaN") {
  Tensor<double> table = normal_numbers({2, 2}, 5);
  table(0, 1) = -std::numeric_limits<double>::infinity();
  const Var<double> pair(table, true);
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {3}, 2);
  graph.add_factors("pairs", chain_edges(graph.ids(a)), pair);
  graph.observe({{0, 0}, {2, 1}});
  const auto result = infer(graph, JunctionTree{});
  CHECK_FALSE(result.possible);
  CHECK(result.log_partition.item() == -std::numeric_limits<double>::infinity());
  result.log_partition.backward();
  for (const double g : pair.gradient()) CHECK(g == 0);
}

TEST_CASE("bad potentials and wide graphs are refused") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {60}, 2);
  graph.add_factors("pairs", complete_edges(graph.ids(a)), Var<double>::zeros({2, 2}));
  CHECK_THROWS_WITH_AS(infer(graph, JunctionTree{}), doctest::Contains("width 59"), NumericalError);
  FactorGraph<double> bad;
  bad.add_unary("u", bad.add_variables("b", {1}, 2), Var<double>::filled({2}, std::nan("")));
  CHECK_THROWS_AS(infer(bad, JunctionTree{}), NumericalError);
  CHECK_THROWS_AS(infer(FactorGraph<double>(), JunctionTree{}), GraphError);
}

TEST_CASE("graphs made from models, in float and double") {
  std::mt19937_64 random(9);
  for (int i = 0; i < 10; ++i) {
    const auto model = testing_models::random_model(random, {.variables = 8, .factors = 12});
    const auto expected = exact_marginals(model);
    const auto built = factor_graph<double>(model, true);
    const auto result = infer(built.graph, JunctionTree{});
    CHECK(result.log_partition.item() == doctest::Approx(expected.log_partition).epsilon(1e-13));
    CHECK(infer(factor_graph<float>(model).graph, JunctionTree{}).log_partition.item() ==
          doctest::Approx(expected.log_partition).epsilon(1e-5));
    for (std::size_t f = 0; f < built.factor.size(); ++f) {
      const auto [group, place] = built.factor[f];
      const double* got = result.factors[static_cast<std::size_t>(group)].data();
      for (std::size_t k = 0; k < model.tables[f].size(); ++k)
        CHECK(got[static_cast<std::size_t>(place) * model.tables[f].size() + k] ==
              doctest::Approx(expected.factors[f][k]).epsilon(1e-12));
    }
  }
}

TEST_CASE("the plan of a structure is made once, and again when the structure or the options change") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {4}, 2);
  graph.add_factors("edges", chain_edges(graph.ids(a)), Var<double>(normal_numbers({3, 2, 2}, 1)));
  const auto plan = [&](const JunctionTree& options = {}) {
    return detail::ExactPlan(graph.structure(), options.order, options.memory_limit).tree;
  };
  const double z = infer(graph, JunctionTree{}).log_partition.item();
  const auto first = plan();
  CHECK(plan() == first);
  graph.set_potentials(0, Var<double>(normal_numbers({3, 2, 2}, 2)));
  const double other = infer(graph, JunctionTree{}).log_partition.item();
  CHECK(other != z);
  CHECK(other == doctest::Approx(enumerate(graph, 0)).epsilon(1e-13));
  CHECK(plan() == first);
  CHECK(plan({.order = {.seed = 1}}) != first);
  CHECK(plan({.order = {.heuristic = EliminationHeuristic::min_fill}}) != first);
  CHECK_THROWS_AS(plan({.memory_limit = 10}), NumericalError);
  // Whether a structure changes in place or, held elsewhere, in a copy.
  const auto copy = graph;
  graph.observe(0, 1);
  CHECK(plan() != first);
  CHECK(infer(graph, JunctionTree{}).log_partition.item() == doctest::Approx(enumerate(graph, 0)).epsilon(1e-13));
  const auto second = plan();
  graph.observe(1, 0);
  CHECK(plan() != second);
  CHECK(infer(graph, JunctionTree{}).log_partition.item() == doctest::Approx(enumerate(graph, 0)).epsilon(1e-13));
  CHECK(infer(copy, JunctionTree{}).log_partition.item() == doctest::Approx(other).epsilon(1e-13));
  // Any number of threads may ask at once.
  std::vector<std::thread> threads;
  std::vector<double> found(4);
  for (std::size_t t = 0; t < found.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i)
        found[t] = infer(copy, JunctionTree{.order = {.seed = static_cast<std::uint64_t>(i % 7)}}).log_partition.item();
    });
  for (auto& thread : threads) thread.join();
  for (const double value : found) CHECK(value == doctest::Approx(other).epsilon(1e-13));
}
