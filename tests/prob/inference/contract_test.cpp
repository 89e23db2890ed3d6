#include <doctest/doctest.h>

#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/enumeration.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/inference/method.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;
using testing_models::normal_variables;

namespace {

FactorGraph<double> grid_with_triples(const std::vector<Var<double>>& x) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {3, 3}, 2);
  graph.add_unary("unary", a, x[0]);
  graph.add_factors("edges", concatenate_edges(grid_edges(graph.ids(a))), x[1]);
  graph.add_factors("triples", index_tensor({2, 3}, {0, 4, 8, 2, 4, 6}), x[2]);
  graph.observe(3, 1);
  return graph;
}

/// What a method gives beside marginals and the log-partition, which all give.
struct Contract {
  InferenceMethod method;
  BoundKind kind;
  bool assignment = true, iterative = true, bounds = false, sampled = false;
};

}  // namespace

TEST_CASE("one contract: each field of a result is filled by each method, or it is one that the method has not") {
  const Contract contracts[] = {
      {Enumeration{}, BoundKind::exact, true, false},
      {JunctionTree{}, BoundKind::exact, false, false},
      {JunctionTree{.maximum = true}, BoundKind::exact, true, false},
      {BeliefPropagation{}, BoundKind::estimate},
      {BeliefPropagation{.schedule = Schedule::residual}, BoundKind::estimate},
      {BeliefPropagation{.damping = .3, .temperature = 0}, BoundKind::estimate},
      {BeliefPropagation{.weights = {1, .7, .9}}, BoundKind::estimate},
      {TreeReweighted{}, BoundKind::upper_bound},
      {TreeReweighted{.schedule = Schedule::sequential, .weight_updates = 3}, BoundKind::upper_bound, true, true, true},
      {MeanField{}, BoundKind::lower_bound, true, true, true},
      {MeanField{.update = MeanFieldUpdate::parallel, .damping = .3}, BoundKind::lower_bound, true, true, true},
      {StructuredMeanField{}, BoundKind::lower_bound, true, true, true},
      {GeneralizedMeanField{.cluster_size = 4}, BoundKind::lower_bound, true, true, true},
      {Gibbs{.iterations = 500}, BoundKind::estimate, true, false, false, true},
      {Gibbs{.iterations = 500, .blocks = GibbsBlocks::chromatic}, BoundKind::estimate, true, false, false, true},
      {Gibbs{.iterations = 500, .blocks = GibbsBlocks::trees}, BoundKind::estimate, true, false, false, true},
      {Gibbs{.iterations = 500, .blocks = GibbsBlocks::blocked}, BoundKind::estimate, true, false, false, true}};
  const auto x = normal_variables({{3, 3, 2}, {2, 2}, {2, 2, 2, 2}}, .7);
  const auto graph = grid_with_triples(x);
  for (const Contract& c : contracts) {
    const std::string name = c.method.name();
    CAPTURE(name);
    const auto r = infer(graph, c.method);
    CHECK(r.possible);
    CHECK(r.converged);
    CHECK(r.kind == c.kind);
    REQUIRE(r.variables.size() == 1);
    CHECK(r.variables[0].shape() == Shape{3, 3, 2});
    REQUIRE(r.factors.size() == 3);
    CHECK(r.factors[1].shape() == Shape{12, 2, 2});
    CHECK(r.factors[2].shape() == Shape{2, 2, 2, 2});
    CHECK(r.log_partition.shape() == Shape{});
    // Variables of the tape, but for those that are drawn.
    CHECK(r.log_partition.requires_grad() != c.sampled);
    for (const auto& p : r.variables) CHECK(p.requires_grad() != c.sampled);
    for (const auto& p : r.factors) CHECK(p.requires_grad() != c.sampled);
    CHECK(r.assignment.has_value() == c.assignment);
    if (r.assignment) {
      CHECK(r.assignment_score.item() == doctest::Approx(graph.score(*r.assignment).item()).epsilon(1e-12));
      CHECK((*r.assignment)(3) == 1);
    }
    CHECK(r.trace.seconds > 0);
    CHECK(r.trace.residual.size() == static_cast<std::size_t>(c.iterative ? r.trace.iterations : 0));
    CHECK(r.trace.bound.empty() != c.bounds);
    if (c.iterative || c.sampled) {
      CHECK(r.trace.iterations > 0);
      CHECK(r.trace.updates >= r.trace.iterations);
    }
    CHECK(r.standard_errors.size() == (c.sampled ? 1 : 0));
    CHECK(r.effective_samples.size() == (c.sampled ? 1 : 0));
  }
}
