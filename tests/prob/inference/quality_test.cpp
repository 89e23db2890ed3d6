#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <sstream>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/bound_checks.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/inference/quality.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;
using testing_models::normal_numbers;

namespace {

FactorGraph<double> cycle(double spread, std::int64_t batch = 0) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {4}, 2);
  graph.add_unary("unary", a, Var<double>(normal_numbers(batch > 0 ? Shape{batch, 4, 2} : Shape{4, 2}, 5, spread)));
  graph.add_factors("edges", index_tensor({4, 2}, {0, 1, 1, 2, 2, 3, 3, 0}),
                    Var<double>(normal_numbers({4, 2, 2}, 6, spread)));
  return graph;
}

/// All variables repel all others: messages go back and forth.
FactorGraph<double> repelling() {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {6}, 3);
  graph.add_unary("unary", a, Var<double>(normal_numbers({6, 3}, 7, .1)));
  graph.add_potts("edges", complete_edges(graph.ids(a)), Var<double>(-4.0));
  return graph;
}

/// A method that says what it is told to.
struct Claim {
  double log_partition = 0;
  double first = 0.5;  ///< the probability of state 0 of every variable
};
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const Claim& claim) {
  InferenceResult<T> result;
  Tensor<T> marginals = empty_tensor<T>({graph.variables(), 2});
  for (std::int64_t i = 0; i < graph.variables() * 2; ++i)
    marginals.data()[i] = static_cast<T>(i % 2 == 0 ? claim.first : 1 - claim.first);
  result.variables.push_back(Var<T>(std::move(marginals)));
  result.log_partition = Var<T>(static_cast<T>(claim.log_partition));
  return result;
}

/// A method that is faster each time.
struct Faster {
  static inline int runs = 0;
};
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const Faster&) {
  auto result = infer(graph, Claim{});
  result.trace.seconds = .004 / ++Faster::runs;
  result.trace.iterations = 1234;
  return result;
}

}  // namespace

TEST_CASE("quality: errors are what their definitions say") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {2}, 2);
  graph.add_unary("unary", a, Var<double>(Tensor<double>{{std::log(3.0), 0}, {0, std::log(4.0)}}));  // .75 .25, .2 .8
  const auto exact = infer(graph, JunctionTree{});
  const auto q = inference_quality(graph, infer(graph, Claim{1, .5}), exact);
  CHECK(q.max_error == doctest::Approx(.3));
  CHECK(q.mean_error == doctest::Approx((.25 + .3) / 2));
  CHECK(q.divergence ==
        doctest::Approx((.75 * std::log(1.5) + .25 * std::log(.5) + .2 * std::log(.4) + .8 * std::log(1.6)) / 2));
  CHECK(q.log_partition_error == doctest::Approx(std::log(20.0) - 1));
  CHECK(std::isinf(inference_quality(graph, infer(graph, Claim{1, 0}), exact).divergence));
  // Of a batch the largest error of the log-partition counts.
  const auto several = cycle(1, 3);
  const auto right = infer(several, JunctionTree{});
  auto off = right;
  off.log_partition = right.log_partition + Var<double>(Tensor<double>{-.5, 0, .1});
  CHECK(inference_quality(several, off, right).log_partition_error == doctest::Approx(.5));
  // Variables with evidence do not count.
  graph.observe(1, 0);
  const auto seen = inference_quality(graph, infer(graph, Claim{1, .5}), infer(graph, JunctionTree{}));
  CHECK(seen.max_error == doctest::Approx(.25));
  CHECK(seen.mean_error == doctest::Approx(.25));
  CHECK_THROWS_AS(inference_quality(graph, infer(cycle(1), JunctionTree{}), infer(cycle(1, 2), JunctionTree{})),
                  ShapeError);
}

TEST_CASE("quality: compare() runs methods on one graph against the exact result") {
  const auto graph = cycle(1);
  const auto found =
      compare(graph, {JunctionTree{}, BeliefPropagation{}, MeanField{}, TreeReweighted{}, Gibbs{.iterations = 5000},
                      InferenceMethod("too small", JunctionTree{.memory_limit = 1})});
  CHECK(found.exact);
  CHECK(found.reference == "junction tree");
  REQUIRE(found.methods.size() == 6);
  CHECK(found.methods[0].max_error < 1e-12);
  CHECK(found.methods[1].max_error > 1e-6);
  CHECK(found.methods[1].max_error < found.methods[2].max_error);
  CHECK(found.methods[2].kind == BoundKind::lower_bound);
  CHECK(found.methods[3].kind == BoundKind::upper_bound);
  const auto& sampled = found.methods[4];
  CHECK(sampled.standard_error > 0);
  CHECK(sampled.max_error < 5 * sampled.standard_error);
  CHECK(found.methods[5].failure.find("beyond the limit") != std::string::npos);
  for (std::size_t i = 0; i < 5; ++i) CHECK(found.methods[i].seconds > 0);
  const std::string table = found.table();
  CHECK(std::count(table.begin(), table.end(), '\n') == 8);
  for (const auto& m : found.methods) CHECK(table.find(m.method) != std::string::npos);
  CHECK(table.find("errors against junction tree (exact)") != std::string::npos);
  CHECK(table.find("converged, lower bound") != std::string::npos);
  CHECK(table.find("converged, upper bound") != std::string::npos);
  // A reference of one's own.
  const auto chosen = compare(graph, {BeliefPropagation{}}, {.reference = BeliefPropagation{}});
  CHECK(chosen.reference == "belief propagation");
  CHECK_FALSE(chosen.exact);
  CHECK(chosen.methods[0].max_error == 0);
  // Where the junction tree does not fit, a long run of sampling stands in.
  const auto wide = compare(graph, {BeliefPropagation{}}, {.memory_limit = 1, .sweeps = 4000});
  CHECK_FALSE(wide.exact);
  CHECK(wide.reference == "Gibbs sampling");
  CHECK(wide.reference_error > 0);
  CHECK(
      wide.table().find("errors against Gibbs sampling (not exact), whose marginals have standard errors up to 0.0") !=
      std::string::npos);
  CHECK(std::abs(wide.methods[0].max_error - found.methods[1].max_error) < 5 * wide.reference_error);
  // A tenth of its sweeps more come first and do not count.
  const auto same = compare(
      graph, {Gibbs{.iterations = 400, .burn_in = 40, .seed = 3}, Gibbs{.iterations = 400, .burn_in = 0, .seed = 3}},
      {.memory_limit = 1, .sweeps = 400, .seed = 3});
  CHECK(same.methods[0].max_error == 0);
  CHECK(same.methods[0].log_partition_error == 0);
  CHECK(same.methods[1].max_error > 0);
  auto impossible = graph;
  impossible.set_potentials(0, Var<double>::filled({4, 2}, -std::numeric_limits<double>::infinity()));
  CHECK_THROWS_AS(compare(impossible, {BeliefPropagation{}}), NumericalError);
}

TEST_CASE("quality: a table has numbers in columns, and the fastest of five short runs") {
  const auto graph = cycle(1);
  const auto found =
      compare(graph, {InferenceMethod("faster", Faster{}), BeliefPropagation{.iterations = 7, .tolerance = 0},
                      MeanField{}, InferenceMethod("too small", JunctionTree{.memory_limit = 1})});
  CHECK(Faster::runs == 5);
  CHECK(found.methods[0].seconds == .004 / 5);
  std::istringstream lines(found.table());
  std::string header, line;
  std::getline(lines, header);
  for (std::size_t i = 0; i < 4; ++i) {
    std::getline(lines, line);
    CAPTURE(line);
    for (const std::string name : {"iterations", "max error", "mean error", "KL (nats)", "log-partition", "its error",
                                   "standard error", "seconds"}) {
      const std::size_t end = header.find("  " + name) + 2 + name.size();
      REQUIRE(line.size() > end);
      CHECK(line[end - 1] != ' ');
      CHECK(line[end] == ' ');
    }
    CHECK(line.substr(header.find("state") - 2, 2) == "  ");
    CHECK(line[header.find("state")] != ' ');
    if (i == 0) CHECK(line.find(" 1234 ") != std::string::npos);
    if (i == 1) CHECK(line.find(" 7 ") != std::string::npos);
  }
}

TEST_CASE("quality: oscillation, non-convergence and inconsistency are said") {
  const auto bad = infer(repelling(), BeliefPropagation{});
  CHECK(bad.trace.oscillates);
  CHECK(describe(bad).find("did not converge in 100 iterations: oscillates") != std::string::npos);
  CHECK(local_inconsistency(repelling(), bad) > .01);
  const auto table = compare(repelling(), {BeliefPropagation{}}).table();
  CHECK(table.find("oscillates") != std::string::npos);
  CHECK(table.find("inconsistent") != std::string::npos);
  const auto damped = infer(repelling(), BeliefPropagation{.iterations = 1000, .damping = .7});
  CHECK(damped.converged);
  CHECK_FALSE(damped.trace.oscillates);
  CHECK(describe(damped).find("estimate") == 0);
  CHECK(describe(damped).find("converged in") != std::string::npos);
  CHECK(local_inconsistency(repelling(), damped) < 1e-6);
  // Too few iterations are no oscillation.
  const auto few = infer(cycle(1), BeliefPropagation{.iterations = 3});
  CHECK_FALSE(few.converged);
  CHECK_FALSE(few.trace.oscillates);
  CHECK(describe(few).find("oscillates") == std::string::npos);
  // Neither is what is on its way, slowly.
  const auto slow = infer(cycle(1), BeliefPropagation{.iterations = 60, .damping = .9});
  CHECK_FALSE(slow.converged);
  CHECK_FALSE(slow.trace.oscillates);
  auto impossible = cycle(1);
  impossible.set_potentials(0, Var<double>::filled({4, 2}, -std::numeric_limits<double>::infinity()));
  CHECK(describe(infer(impossible, JunctionTree{})).find("no assignment") == 0);
}

TEST_CASE("quality: a monitor runs the better method every so many steps on some of the batch") {
  InferenceMonitor monitor(MeanField{}, JunctionTree{}, {.every = 3, .examples = 2});
  const auto graph = cycle(1, 5);
  for (int i = 0; i < 7; ++i) CHECK(monitor.step(graph).has_value() == (i % 3 == 0));
  REQUIRE(monitor.history().size() == 3);
  CHECK(monitor.history()[2].step == 6);
  // What it says is of two of the five examples.
  for (const auto& report : monitor.history()) {
    CHECK(report.quality.method == "mean field");
    bool found = false;
    for (std::int64_t i = 0; i < 5; ++i)
      for (std::int64_t j = 0; j < 5; ++j) {
        if (i == j) continue;
        const auto pair = batch_elements(graph, {i, j});
        REQUIRE(pair.batch() == 2);
        const auto q = inference_quality(pair, infer(pair, MeanField{}), infer(pair, JunctionTree{}));
        found = found || (q.mean_error == report.quality.mean_error && q.max_error == report.quality.max_error);
      }
    CHECK(found);
  }
  const std::string table = monitor.table();
  CHECK(std::count(table.begin(), table.end(), '\n') == 5);
  for (const char* part : {"step ", "\n0 ", "\n3 ", "\n6 ", "\nmean field, errors against junction tree (exact)\n"})
    CHECK(table.find(part) != std::string::npos);
  // Not always of the same two.
  CHECK(monitor.history()[0].quality.mean_error != monitor.history()[1].quality.mean_error);
  CHECK_THROWS_AS(batch_elements(graph, {5}), IndexError);
  CHECK_THROWS_AS(batch_elements(cycle(1), {0}), GraphError);
  // Those that were named, in their order.
  const auto all = infer(graph, JunctionTree{}), some = infer(batch_elements(graph, {3, 1}), JunctionTree{});
  CHECK(some.log_partition.data()[0] == all.log_partition.data()[3]);
  CHECK(some.log_partition.data()[1] == all.log_partition.data()[1]);
}

TEST_CASE("quality: bounds are checked against enumeration where that is asked for") {
  const auto graph = cycle(2, 3);
  InferenceResult<double> wrong = infer(graph, JunctionTree{});
  wrong.kind = BoundKind::lower_bound;
  auto above = wrong.log_partition.tensor();
  above(1) += .1;
  wrong.log_partition = Var<double>(std::move(above));
  CHECK_NOTHROW(detail::check_bound(graph, wrong, "test"));
  {
    const BoundChecks on;
    CHECK_THROWS_AS(detail::check_bound(graph, wrong, "test"), NumericalError);
    wrong.kind = BoundKind::upper_bound;
    CHECK_NOTHROW(detail::check_bound(graph, wrong, "test"));
    wrong.kind = BoundKind::exact;
    CHECK_THROWS_AS(detail::check_bound(graph, wrong, "test"), NumericalError);
    const auto before = BoundChecks::made();
    infer(graph, MeanField{});
    infer(graph, MeanField{.update = MeanFieldUpdate::parallel});
    infer(graph, StructuredMeanField{});
    infer(graph, GeneralizedMeanField{});
    CHECK(infer(graph, TreeReweighted{.iterations = 2000}).converged);
    CHECK(BoundChecks::made() == before + 15);
  }
  const BoundChecks small(15);  // the graph has 16 assignments
  CHECK_NOTHROW(detail::check_bound(graph, wrong, "test"));
  {
    const BoundChecks more(16);
    CHECK_THROWS_AS(detail::check_bound(graph, wrong, "test"), NumericalError);
  }
  CHECK_NOTHROW(detail::check_bound(graph, wrong, "test"));
  // Evidence leaves half of them.
  auto seen = graph;
  seen.observe(2, 1);
  auto low = infer(seen, JunctionTree{});
  auto below = low.log_partition.tensor();
  below(2) -= .1;
  low.log_partition = Var<double>(std::move(below));
  for (const auto kind : {BoundKind::exact, BoundKind::upper_bound}) {
    low.kind = kind;
    CHECK_THROWS_WITH_AS(detail::check_bound(seen, low, "test"), doctest::Contains("below"), NumericalError);
  }
  for (const auto kind : {BoundKind::lower_bound, BoundKind::estimate}) {
    low.kind = kind;
    CHECK_NOTHROW(detail::check_bound(seen, low, "test"));
  }
}

TEST_CASE("quality: the worst standard error and the fewest effective samples are told") {
  auto sampled = infer(cycle(1), JunctionTree{});
  sampled.standard_errors = {Tensor<double>{.1, .25, .2}};
  sampled.effective_samples = {Tensor<double>{50, 30, 90}};
  CHECK(describe(sampled).find("standard errors up to 0.25, 30 effective samples at least") != std::string::npos);
}

TEST_CASE("quality: checks that are made within others end alone") {
  const auto graph = cycle(2);
  auto wrong = infer(graph, JunctionTree{});
  wrong.log_partition = wrong.log_partition + 1.0;
  const BoundChecks outer(16);
  {
    const BoundChecks inner(15);
    CHECK_NOTHROW(detail::check_bound(graph, wrong, "test"));
  }
  CHECK_THROWS_AS(detail::check_bound(graph, wrong, "test"), NumericalError);
}

TEST_CASE("quality: consistency is that of tables; other factors have no marginals of states") {
  auto graph = cycle(1);
  graph.add_structured("parity", FactorKind::parity, index_tensor({1, 4}, {0, 1, 2, 3}),
                       Var<double>(Tensor<double>{.3, -.4}));
  CHECK(local_inconsistency(graph, infer(graph, JunctionTree{})) < 1e-12);
}
