#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/cluster_mean_field.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/mean_field.hpp>

#include "prob/normal_numbers.hpp"
#include "prob/random_models.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

FactorGraph<double> grid(const Var<double>& unary, const Var<double>& pair) {
  FactorGraph<double> graph;
  const auto pixels = graph.add_variables("pixels", {3, 4}, 3);
  graph.add_unary("unary", pixels, unary);
  for (const auto& edges : grid_edges(graph.ids(pixels))) graph.add_factors("edges", edges, pair);
  return graph;
}

double largest_difference(const Var<double>& a, const Var<double>& b) {
  double largest = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a.data()[i] - b.data()[i]));
  return largest;
}

void check_monotone(const InferenceTrace& trace) {
  for (std::size_t i = 1; i < trace.bound.size(); ++i) CHECK(trace.bound[i] >= trace.bound[i - 1] - 1e-10);
}

}  // namespace

TEST_CASE("mean field bounds rise to at most the log-partition, larger clusters closer") {
  const auto graph = grid(Var<double>(normal_numbers({3, 4, 3}, 1, 1)), Var<double>(normal_numbers({3, 3}, 2, .8)));
  const double exact = infer(graph, JunctionTree{}).log_partition.item();
  const auto naive = infer(graph, MeanField{});
  const auto trees = infer(graph, StructuredMeanField{});
  const auto clusters = infer(graph, GeneralizedMeanField{.cluster_size = 6});
  const auto whole = infer(graph, GeneralizedMeanField{.clusters = std::vector<std::int64_t>(12, 0)});
  for (const auto* result : {&naive, &trees, &clusters}) {
    CHECK(result->converged);
    CHECK(result->kind == BoundKind::lower_bound);
    CHECK(result->log_partition.item() < exact);
    check_monotone(result->trace);
  }
  CHECK(trees.log_partition.item() > naive.log_partition.item());
  CHECK(clusters.log_partition.item() > naive.log_partition.item());
  CHECK(whole.log_partition.item() == doctest::Approx(exact).epsilon(1e-12));
  CHECK(largest_difference(whole.variables[0], infer(graph, JunctionTree{}).variables[0]) < 1e-12);
  CHECK(largest_difference(whole.factors[1], infer(graph, JunctionTree{}).factors[1]) < 1e-12);
}

TEST_CASE("the naive bound is expected score plus entropy, at a fixed point") {
  const Var<double> unary(normal_numbers({3, 4, 3}, 3, 1)), pair(normal_numbers({3, 3}, 4, .6));
  const auto graph = grid(unary, pair);
  const auto result = infer(graph, MeanField{.tolerance = 1e-13});
  const auto q = reinterpret_cast<const double(*)[3]>(result.variables[0].data());
  double bound = 0, worst = 0;
  std::vector<std::array<double, 3>> field(12);
  for (std::size_t v = 0; v < 12; ++v)
    for (std::size_t k = 0; k < 3; ++k) field[v][k] = unary.data()[v * 3 + k];
  for (std::size_t g = 1; g < 3; ++g) {
    const auto& edges = graph.factor_groups()[g];
    for (std::int64_t e = 0; e < edges.factors(); ++e) {
      const auto a = static_cast<std::size_t>(edges.scopes[2 * e]),
                 b = static_cast<std::size_t>(edges.scopes[2 * e + 1]);
      for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t j = 0; j < 3; ++j) {
          field[a][i] += q[b][j] * pair.value()(i, j);
          field[b][j] += q[a][i] * pair.value()(i, j);
          bound += q[a][i] * q[b][j] * pair.value()(i, j);
        }
    }
  }
  for (std::size_t v = 0; v < 12; ++v) {
    double z = 0;
    for (const double x : field[v]) z += std::exp(x);
    for (std::size_t k = 0; k < 3; ++k) {
      worst = std::max(worst, std::abs(q[v][k] - std::exp(field[v][k]) / z));
      bound += q[v][k] * (unary.data()[v * 3 + k] - std::log(q[v][k]));
    }
  }
  CHECK(worst < 1e-11);
  CHECK(result.log_partition.item() == doctest::Approx(bound).epsilon(1e-12));
}

TEST_CASE("the bound's gradient, with a batch and shared potentials") {
  const std::vector<Var<double>> x = {Var<double>(normal_numbers({2, 3, 4, 3}, 5, 1), true),
                                      Var<double>(normal_numbers({3, 3}, 6, .5), true)};
  check_gradients([](const auto& v) { return infer(grid(v[0], v[1]), MeanField{.tolerance = 1e-13}).log_partition; }, x,
                  {.forward_mode = false});
  check_gradients(
      [](const auto& v) { return infer(grid(v[0], v[1]), StructuredMeanField{.tolerance = 1e-13}).log_partition; }, x,
      {.forward_mode = false});
}

TEST_CASE("random models of all arities, with evidence: lower bounds") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 12; ++i) {
    const auto model = testing_models::random_model(random, {.variables = 8, .factors = 12, .most_states = 3});
    auto built = factor_graph<double>(model);
    for (const auto& [v, s] : testing_models::random_evidence(random, model, .3))
      built.graph.observe(built.variable[static_cast<std::size_t>(v)], s);
    const double exact = infer(built.graph, JunctionTree{}).log_partition.item();
    for (const auto& result : {infer(built.graph, MeanField{}), infer(built.graph, StructuredMeanField{}),
                               infer(built.graph, GeneralizedMeanField{.cluster_size = 3})}) {
      CHECK(result.log_partition.item() <= exact + 1e-10);
      CHECK(result.log_partition.item() > exact - 20);
      check_monotone(result.trace);
    }
  }
}

TEST_CASE("factors that forbid states: a start is searched, and no NaN is made") {
  // Neighbours in a cycle of six must differ, in three colours: uniform distributions forbid everything.
  Tensor<double> differ = Tensor<double>::from_shape({3, 3});
  differ.fill(0);
  for (std::size_t k = 0; k < 3; ++k) differ(k, k) = -std::numeric_limits<double>::infinity();
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {6}, 3);
  IndexTensor closing = empty_tensor<std::int64_t>({1, 2});
  closing(0, 0) = 5;
  closing(0, 1) = 0;
  graph.add_factors("differ", concatenate_edges({chain_edges(graph.ids(a)), closing}), Var<double>(differ));
  const double exact = infer(graph, JunctionTree{}).log_partition.item();
  CHECK(exact == doctest::Approx(std::log(66.0)));
  for (const auto& result : {infer(graph, MeanField{}), infer(graph, StructuredMeanField{}),
                             infer(graph, GeneralizedMeanField{.cluster_size = 2})}) {
    CHECK(std::isfinite(result.log_partition.item()));
    CHECK(result.log_partition.item() <= exact);
    CHECK(std::isfinite(result.assignment_score.item()));
  }
  graph.observe({{0, 1}, {5, 1}});
  const auto impossible = infer(graph, MeanField{});
  CHECK(impossible.log_partition.item() == -std::numeric_limits<double>::infinity());
  for (std::int64_t i = 0; i < 18; ++i) CHECK(std::isfinite(impossible.variables[0].data()[i]));
}

TEST_CASE("clusters") {
  std::vector<std::vector<std::int64_t>> scopes;
  for (std::int64_t i = 0; i < 5; ++i)
    for (std::int64_t j = 0; j < 5; ++j) {
      if (j < 4) scopes.push_back({5 * i + j, 5 * i + j + 1});
      if (i < 4) scopes.push_back({5 * i + j, 5 * i + j + 5});
    }
  const auto trees = detail::tree_clusters(25, scopes);
  const std::vector<std::int64_t> states(25, 3);
  const auto parts = detail::partition_clusters(states, scopes, 5, 1e9);
  for (const auto& clusters : {trees, parts}) {
    const auto count = *std::max_element(clusters.begin(), clusters.end()) + 1;
    CHECK(count < 20);
    for (std::int64_t c = 0; c < count; ++c) CHECK(std::count(clusters.begin(), clusters.end(), c) > 0);
  }
  // As many as the size asks for, the last one smaller.
  const auto seven = detail::partition_clusters(states, scopes, 4, 1e9);
  CHECK(*std::max_element(seven.begin(), seven.end()) == 6);
  // Edges inside a tree cluster are fewer than its variables.
  for (std::int64_t c = 0; c <= *std::max_element(trees.begin(), trees.end()); ++c) {
    std::int64_t edges = 0;
    for (const auto& scope : scopes)
      edges += trees[static_cast<std::size_t>(scope[0])] == c && trees[static_cast<std::size_t>(scope[1])] == c;
    CHECK(edges < std::count(trees.begin(), trees.end(), c));
  }
  const auto graph = grid(Var<double>::zeros({3}), Var<double>::zeros({3, 3}));
  CHECK_THROWS_AS(infer(graph, GeneralizedMeanField{.clusters = {0, 1}}), ShapeError);
  // A variable by itself needs no tables.
  CHECK(infer(graph, GeneralizedMeanField{.cluster_size = 12, .memory_limit = 100}).log_partition.item() ==
        infer(graph, MeanField{}).log_partition.item());
}

TEST_CASE("clusters that were found are split until their tables fit") {
  std::vector<std::vector<std::int64_t>> scopes;
  for (std::int64_t i = 0; i < 8; ++i)
    for (std::int64_t j = i + 1; j < 8; ++j) scopes.push_back({i, j});
  const std::vector<std::int64_t> states(8, 30);
  const auto clusters = detail::partition_clusters(states, scopes, 8, 1e6);
  CHECK(*std::max_element(clusters.begin(), clusters.end()) == 3);
  FactorGraph<double> graph;
  const auto variables = graph.add_variables("v", {8}, 30);
  graph.add_factors("pairs", complete_edges(graph.ids(variables)), Var<double>::ones({30, 30}));
  const auto result = infer(graph, GeneralizedMeanField{.cluster_size = 8, .memory_limit = 1e6});
  CHECK(result.log_partition.item() == doctest::Approx(8 * std::log(30.) + 28));
  CHECK_THROWS_AS(infer(graph, GeneralizedMeanField{.clusters = std::vector<std::int64_t>(8, 0), .memory_limit = 1e6}),
                  NumericalError);
}

TEST_CASE(
    "the bound of clusters is expected score plus entropy: a factor over three clusters, with two variables of one") {
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {4}, 2);
  graph.add_unary("unary", v, Var<double>(testing_models::normal_numbers({4, 2}, 21)));
  graph.add_factors("four", IndexTensor{{0, 1, 2, 3}},
                    Var<double>(testing_models::normal_numbers({1, 2, 2, 2, 2}, 22)));
  graph.add_factors("pair", IndexTensor{{0, 1}}, Var<double>(testing_models::normal_numbers({1, 2, 2}, 23)));
  const auto result = infer(graph, GeneralizedMeanField{.clusters = {0, 0, 1, 2}, .tolerance = 1e-13});
  const auto entropy = [](const double* p, std::int64_t n) {
    double total = 0;
    for (std::int64_t i = 0; i < n; ++i) total -= p[i] * std::log(p[i]);
    return total;
  };
  const double* p = result.variables[0].data();
  double bound = entropy(result.factors[2].data(), 4) + entropy(p + 4, 2) + entropy(p + 6, 2);
  for (std::size_t g = 0; g < 3; ++g)
    for (std::int64_t i = 0; i < result.factors[g].size(); ++i)
      bound += result.factors[g].data()[i] * graph.all_potentials()[g].data()[i];
  CHECK(result.log_partition.item() == doctest::Approx(bound).epsilon(1e-10));
  // The factor's marginal is the product of the clusters'.
  for (std::int64_t i = 0; i < 16; ++i)
    CHECK(result.factors[1].data()[i] ==
          doctest::Approx(result.factors[2].data()[i / 4] * p[4 + i / 2 % 2] * p[6 + i % 2]).epsilon(1e-12));
}
