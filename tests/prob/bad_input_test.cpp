#include <doctest/doctest.h>

#include <cmath>
#include <iterator>
#include <limits>
#include <string>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/exact.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/inference/method.hpp>
#include <tapestry/prob/io/bif.hpp>
#include <tapestry/prob/io/uai.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;
using testing_models::normal_numbers;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Whether f throws E with a message that has all the parts.
template <class E, class F>
bool refused(F f, std::initializer_list<const char*> parts) {
  try {
    f();
  } catch (const E& error) {
    for (const char* part : parts)
      if (std::string(error.what()).find(part) == std::string::npos) {
        MESSAGE(error.what());
        return false;
      }
    return true;
  } catch (const std::exception& error) {
    MESSAGE(error.what());
  }
  return false;
}

/// A cycle of three with one entry of a pairwise table, or of a unary one, replaced.
FactorGraph<double> cycle(bool pairwise, double entry) {
  Tensor<double> unary = normal_numbers({3, 2}, 1), pairs = normal_numbers({3, 2, 2}, 2);
  (pairwise ? pairs : unary).data()[3] = entry;
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {3}, 2);
  graph.add_unary("unary", a, Var<double>(std::move(unary)));
  graph.add_factors("pairs", complete_edges(graph.ids(a)), Var<double>(std::move(pairs)));
  return graph;
}

const InferenceMethod methods[] = {
    JunctionTree{},
    BeliefPropagation{},
    BeliefPropagation{.schedule = Schedule::sequential, .gradient = GradientMode::likelihood},
    BeliefPropagation{.temperature = 0},
    TreeReweighted{},
    MeanField{},
    MeanField{.update = MeanFieldUpdate::parallel},
    StructuredMeanField{},
    GeneralizedMeanField{},
    Gibbs{.iterations = 50, .burn_in = 5}};

}  // namespace

TEST_CASE("bad input: Bayesian networks with cycles, and rows that do not sum to one") {
  CHECK(refused<NumericalError>(
      [] {
        bayesian_network({2, 2, 2}, {{2}, {0}, {1}}, {{.5, .5, .5, .5}, {.5, .5, .5, .5}, {.5, .5, .5, .5}});
      },
      {"its own ancestor"}));
  CHECK(refused<NumericalError>([] { bayesian_network({2, 2}, {{}, {0}}, {{.5, .5}, {.5, .5, .9, .3}}); }, {"1"}));
  CHECK(refused<IndexError>([] { bayesian_network({2, 2}, {{}, {7}}, {{.5, .5}, {.5, .5, .9, .1}}); }, {"7"}));
  CHECK(refused<ShapeError>([] { bayesian_network({2, 2}, {{}, {0}}, {{.5, .5}, {.5, .5, .9}}); }, {}));
}

TEST_CASE("bad input: negative, NaN, infinite and all-zero tables, scopes and states that do not exist") {
  const auto model = [](std::vector<double> table) {
    return DiscreteModel{ModelKind::markov, {2, 2}, {{0}, {0, 1}}, {{1, 1}, std::move(table)}, {}, {}};
  };
  for (const double x : {-1.0, not_a_number, infinity})
    CHECK(refused<NumericalError>([&] { validate(model({1, 2, x, 4})); }, {"factor 1"}));
  CHECK(refused<NumericalError>([&] { validate(model({0, 0, 0, 0})); }, {"factor 1"}));
  CHECK_NOTHROW(validate(model({0, 0, 0, 1})));
  auto scope = model({1, 2, 3, 4});
  scope.scopes[1][1] = 2;
  CHECK(refused<IndexError>([&] { validate(scope); }, {"factor 1", "2"}));
  scope.scopes[1][1] = 0;
  CHECK(refused<IndexError>([&] { validate(scope); }, {"factor 1"}));
  CHECK_THROWS_AS(validate(Evidence{{2, 0}}, {2, 2}), IndexError);
  CHECK_THROWS_AS(validate(Evidence{{1, 2}}, {2, 2}), IndexError);
  CHECK_THROWS_AS(validate(Evidence{{1, 0}, {1, 1}}, {2, 2}), IndexError);
}

TEST_CASE("bad input: whatever takes a model refuses each fault of it, naming the factor") {
  const DiscreteModel good{ModelKind::bayes, {2, 2}, {{0}, {0, 1}}, {{.5, .5}, {.5, .5, .9, .1}}, {}, {}};
  struct Fault {
    const char* part;
    void (*make)(DiscreteModel&);
  };
  const Fault faults[] = {{"factor 1: entry 3 is negative",
                           [](DiscreteModel& m) {
                             m.tables[1] = {.5, .5, 1.1, -.1};
                           }},
                          {"factor 1: entry 0 is not finite", [](DiscreteModel& m) { m.tables[1][0] = not_a_number; }},
                          {"factor 0: all entries are zero",
                           [](DiscreteModel& m) {
                             m.tables[0] = {0, 0};
                           }},
                          {"factor 1 names variable 2",
                           [](DiscreteModel& m) {
                             m.scopes[1] = {0, 2};
                           }},
                          {"factor 1 names variable -1",
                           [](DiscreteModel& m) {
                             m.scopes[1] = {-1, 1};
                           }},
                          {"factor 1: row 0", [](DiscreteModel& m) { m.tables[1][0] = .7; }},
                          {"its own ancestor", [](DiscreteModel& m) {
                             m.scopes[0] = {1, 0};
                             m.tables[0] = {.5, .5, .5, .5};
                           }}};
  using Taker = void (*)(const DiscreteModel&);
  const Taker takers[] = {[](const DiscreteModel& m) { validate(m); },
                          [](const DiscreteModel& m) { factor_graph<double>(m); },
                          [](const DiscreteModel& m) { exact_marginals(m); },
                          [](const DiscreteModel& m) { exact_log_partition(m); },
                          [](const DiscreteModel& m) { exact_maximum(m); },
                          [](const DiscreteModel& m) { enumerate_marginals(m); },
                          [](const DiscreteModel& m) { enumerate_maximum(m); },
                          [](const DiscreteModel& m) { format_uai(m); },
                          [](const DiscreteModel& m) { format_bif(m); },
                          [](const DiscreteModel& m) {
                            bayesian_network(m.cardinalities, {{}, {0}}, m.tables);
                          }};
  for (std::size_t t = 0; t < std::size(takers); ++t) {
    CAPTURE(t);
    CHECK_NOTHROW(takers[t](good));
    for (const auto& fault : faults) {
      auto bad = good;
      fault.make(bad);
      // The last is given parents, not scopes.
      if (t + 1 == std::size(takers) && bad.scopes != good.scopes) continue;
      CHECK(refused<Error>([&] { takers[t](bad); }, {fault.part}));
    }
  }
}

TEST_CASE("bad input: whatever takes evidence refuses variables and states that do not exist, and two states") {
  const DiscreteModel model{ModelKind::markov, {2, 3}, {{0, 1}}, {{1, 2, 3, 4, 5, 6}}, {}, {}};
  using Taker = void (*)(const DiscreteModel&, const Evidence&);
  const Taker takers[] = {[](const DiscreteModel& m, const Evidence& e) { exact_marginals(m, e); },
                          [](const DiscreteModel& m, const Evidence& e) { exact_log_partition(m, e); },
                          [](const DiscreteModel& m, const Evidence& e) { exact_maximum(m, e); },
                          [](const DiscreteModel& m, const Evidence& e) { enumerate_marginals(m, e); },
                          [](const DiscreteModel& m, const Evidence& e) { enumerate_maximum(m, e); },
                          [](const DiscreteModel& m, const Evidence& e) { factor_graph<double>(m).graph.observe(e); }};
  for (const auto& taker : takers) {
    CHECK_NOTHROW(taker(model, {{1, 2}, {0, 1}, {1, 2}}));
    for (const Observation& wrong : {Observation{2, 0}, {-1, 0}, {0, 2}, {1, 3}, {1, -1}})
      CHECK_THROWS_AS(taker(model, {wrong}), IndexError);
    CHECK_THROWS_AS(taker(model, {{1, 0}, {1, 2}}), IndexError);
  }
}

TEST_CASE("bad input: every method refuses NaN and +inf as potentials") {
  for (const auto& method : methods)
    for (const bool pairwise : {false, true})
      for (const double x : {not_a_number, infinity}) {
        CAPTURE(method.name());
        CAPTURE(pairwise);
        CAPTURE(x);
        CHECK_THROWS_AS(method(cycle(pairwise, x)), NumericalError);
      }
}

TEST_CASE("bad input: what is impossible is said, with a log-partition of -inf and no NaN") {
  for (const auto& method : methods) {
    CAPTURE(method.name());
    const bool parallel = &method == &methods[6];
    FactorGraph<double> graph;
    const auto a = graph.add_variables("a", {3}, 2);
    // A factor that forbids all, or evidence that a factor forbids.
    graph.add_unary(
        "unary", a,
        Var<double>(parallel ? normal_numbers({3, 2}, 1) : Tensor<double>{{-infinity, -infinity}, {0, 1}, {0, 1}}));
    graph.add_factors("pairs", complete_edges(graph.ids(a)), Var<double>(normal_numbers({3, 2, 2}, 2)));
    if (parallel) {
      Tensor<double> only = normal_numbers({3, 2}, 3);
      only.data()[1] = -infinity;
      graph.add_unary("only", a, Var<double>(std::move(only)));
      graph.observe(0, 1);
    }
    const auto result = method(graph);
    const bool sampled = method.name() == "Gibbs sampling";
    if (sampled) {
      CHECK_FALSE(result.converged);
    } else {
      CHECK(result.log_partition.item() == -infinity);
    }
    CHECK((sampled || !result.possible || result.kind == BoundKind::lower_bound));
    for (const auto& group : result.variables)
      for (std::int64_t i = 0; i < group.size(); ++i) CHECK_FALSE(std::isnan(group.data()[i]));
  }
}

TEST_CASE("bad input: files that are not there, are cut off, or lie") {
  CHECK(refused<IoError>([] { read_uai("/nonexistent/model.uai"); }, {"/nonexistent/model.uai"}));
  CHECK(refused<IoError>([] { read_bif("/nonexistent/model.bif"); }, {"/nonexistent/model.bif"}));
  CHECK(refused<IoError>([] { parse_uai("MARKOV\n2\n2 2\n1\n2 0 1\n\n4\n1 2 3", "cut.uai"); }, {"cut.uai:"}));
  CHECK(refused<IoError>([] { parse_uai("MARKOV\n2\n2 2\n1\n2 0 1\n\n1000000000000\n1", "lie.uai"); }, {"lie.uai:7"}));
  CHECK(refused<IoError>([] { parse_uai("MARKOV\n1000000000000\n2 2", "lie.uai"); }, {"lie.uai:"}));
  CHECK(refused<IoError>([] { parse_uai("MARKOV\n2\n2 2\n1\n2 0 5\n4\n1 1 1 1", "scope.uai"); }, {"scope.uai:5"}));
  CHECK(refused<IoError>([] { parse_uai("MARKOV\n1\n2\n1\n1 0\n2\n-1 1", "minus.uai"); }, {"minus.uai:7"}));
  CHECK(refused<IoError>([] { parse_uai_evidence("1 0 9", {2}, "states.evid"); }, {"states.evid:1"}));
  CHECK(refused<IoError>(
      [] {
        parse_bif("network n {}\nvariable a { type discrete [2] { x, y }; }\nprobability ( a ) { table .5, ",
                  "cut.bif");
      },
      {"cut.bif:3"}));
}
