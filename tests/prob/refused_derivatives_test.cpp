#include <doctest/doctest.h>

#include <limits>

#include <tapestry/autodiff/derivatives.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/enumeration.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/mean_field.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;

namespace {

using Potentials = std::vector<Var<double>>;

FactorGraph<double> graph_of(const Potentials& x, bool structured) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {4}, 2);
  graph.add_unary("unary", a, x[0]);
  graph.add_factors("triples", index_tensor({2, 3}, {0, 1, 2, 1, 2, 3}), x[1]);
  if (structured) graph.add_structured("odd", FactorKind::parity, index_tensor({1, 3}, {0, 2, 3}), x[2]);
  return graph;
}
Potentials potentials() {
  return testing_models::normal_variables({{4, 2}, {2, 2, 2}, {2}});
}

template <class Method>
void first(const Method& method, bool structured) {
  sum(infer(graph_of(potentials(), structured), method).log_partition).backward();
}
/// Whether second derivatives are to be had.
template <class Method>
void second(const Method& method, bool structured) {
  const auto x = potentials();
  const auto once = grad(sum(infer(graph_of(x, structured), method).log_partition), {x[0]}, {.create_graph = true});
  sum(once[0] * once[0]).backward();
}

}  // namespace

TEST_CASE("what inference cannot differentiate is refused with what to take instead") {
  const auto says = [](auto f, std::initializer_list<const char*> parts) {
    std::string message = "nothing was thrown";
    try {
      f();
    } catch (const Error& error) {
      message = error.what();
    }
    for (const char* part : parts) {
      CAPTURE(message);
      CHECK(message.find(part) != std::string::npos);
    }
  };
  const MeanField parallel{.update = MeanFieldUpdate::parallel};
  says([&] { infer(graph_of(potentials(), true), parallel); }, {"mean_field", "'odd'", "MeanFieldUpdate::coordinate"});
  CHECK_NOTHROW(first(MeanField{}, true));
  CHECK_NOTHROW(second(parallel, false));

  says([] { second(MeanField{}, false); }, {"mean_field", "second derivatives", "MeanFieldUpdate::parallel"});
  says([] { second(StructuredMeanField{}, false); }, {"second", "MeanFieldUpdate::parallel"});

  for (const Schedule schedule : {Schedule::sequential, Schedule::residual, Schedule::tree, Schedule::random}) {
    says([&] { second(BeliefPropagation{.iterations = 5, .schedule = schedule}, false); },
         {"belief_propagation", "second", "Schedule::flooding", "GradientMode::implicit"});
    CHECK_NOTHROW(first(BeliefPropagation{.iterations = 5, .schedule = schedule}, false));
  }
  CHECK_NOTHROW(second(BeliefPropagation{.iterations = 5}, false));
  CHECK_NOTHROW(second(
      BeliefPropagation{.iterations = 500, .schedule = Schedule::residual, .gradient = GradientMode::implicit}, false));

  says([] { second(BeliefPropagation{.iterations = 5, .temperature = 0}, false); },
       {"belief_propagation", "temperature", "small positive"});
  CHECK_NOTHROW(first(BeliefPropagation{.iterations = 5, .temperature = 0}, false));
  CHECK_NOTHROW(second(BeliefPropagation{.iterations = 5, .temperature = .1}, false));

  says([] { second(BeliefPropagation{.iterations = 5}, true); }, {"'odd'", "tables", "Enumeration"});
  CHECK_NOTHROW(first(BeliefPropagation{.iterations = 5}, true));
  CHECK_NOTHROW(second(Enumeration{}, true));
  says(
      [] {
        sum(square(infer(graph_of(potentials(), true), BeliefPropagation{.iterations = 5}).factors[2])).backward();
      },
      {"'odd'", "tables", "Enumeration"});

  says(
      [] {
        const auto x = potentials();
        const auto once =
            grad(sum(infer(graph_of(x, false), JunctionTree{}).log_partition), {x[0]}, {.create_graph = true});
        const auto twice = grad(sum(once[0] * once[0]), {x[0]}, {.create_graph = true});
        grad(sum(twice[0] * twice[0]), {x[0]});
      },
      {"junction_tree", "two derivatives", "Enumeration"});
}
