#include <doctest/doctest.h>

#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

#include "enumerated_losses.hpp"

using namespace tapestry;
using namespace testing_losses;

TEST_CASE("losses: every kind is what enumeration gives, and so is its gradient") {
  for (const bool batched : {false, true})
    for (const bool evidence : {false, true})
      for (const LossKind kind : all_kinds) {
        CAPTURE(static_cast<int>(kind));
        CAPTURE(batched);
        CAPTURE(evidence);
        const auto x = mixed_potentials(batched);
        const auto build = [&](const Potentials& p) {
          auto graph = mixed_graph(p);
          if (evidence) graph.observe({{1, 0}, {5, 1}});
          return graph;
        };
        States both = labels_a;
        both.insert(both.end(), labels_b.begin(), labels_b.end());
        const Indices labels(batched ? index_tensor({2, 6}, both) : index_tensor({6}, labels_a));
        const auto loss = structured_loss(build(x), labels, {kind, 0.7});
        REQUIRE(loss.shape() == (batched ? Shape{2} : Shape{}));
        CHECK(loss.data()[0] == doctest::Approx(enumerated(build(x), labels_a, kind, 0, 0.7)).epsilon(1e-10));
        if (batched)
          CHECK(loss.data()[1] == doctest::Approx(enumerated(build(x), labels_b, kind, 1, 0.7)).epsilon(1e-10));
        CHECK_NOTHROW(check_gradients(
            [&](const auto& p) {
              return sum(structured_loss(build(p), labels, {kind, 0.7}));
            },
            x, {.directions = 1, .forward_mode = false}));
      }
}

TEST_CASE("losses: labels of several examples for one set of potentials") {
  const auto x = mixed_potentials(false);
  States both = labels_a;
  both.insert(both.end(), labels_b.begin(), labels_b.end());
  for (const LossKind kind : all_kinds) {
    CAPTURE(static_cast<int>(kind));
    const auto loss = structured_loss(mixed_graph(x), Indices(index_tensor({2, 6}, both)), {kind});
    REQUIRE(loss.shape() == Shape{2});
    CHECK(loss.data()[0] == doctest::Approx(enumerated(mixed_graph(x), labels_a, kind, 0)).epsilon(1e-10));
    CHECK(loss.data()[1] == doctest::Approx(enumerated(mixed_graph(x), labels_b, kind, 0)).epsilon(1e-10));
  }
}

TEST_CASE("losses: gradients through approximate inference are those of what was computed") {
  const InferenceMethod methods[] = {
      BeliefPropagation{.iterations = 6, .tolerance = 0, .damping = .2},
      BeliefPropagation{.iterations = 2000, .tolerance = 1e-14, .gradient = GradientMode::implicit},
      TreeReweighted{.iterations = 5, .tolerance = 0, .weights = {1, .7, .8}},
      MeanField{.iterations = 6, .tolerance = 0, .update = MeanFieldUpdate::parallel, .damping = .3},
      MeanField{.iterations = 4, .tolerance = 0},
      StructuredMeanField{.iterations = 3, .tolerance = 0},
      GeneralizedMeanField{.cluster_size = 2, .tolerance = 1e-13, .gradient = GradientMode::implicit}};
  const Indices labels(index_tensor({6}, labels_a));
  for (const auto& method : methods)
    for (const LossKind kind : {LossKind::likelihood, LossKind::univariate_log, LossKind::univariate_quadratic,
                                LossKind::clique_log, LossKind::clique_quadratic}) {
      CAPTURE(method.name());
      CAPTURE(static_cast<int>(kind));
      CHECK_NOTHROW(
          check_gradients([&](const auto& p) { return structured_loss(mixed_graph(p, false), labels, {kind}, method); },
                          normal_variables({{3, 3}, {3, 3}, {1, 3, 2, 2}}, .4), {.forward_mode = false}));
    }
}

TEST_CASE("losses: surrogate likelihoods of bounds have the expected statistics as gradient, and bound the exact one") {
  const Indices labels(index_tensor({6}, labels_a));
  const auto x = mixed_potentials(false, .5);
  const double exact = structured_loss(mixed_graph(x), labels).item();
  for (const InferenceMethod& method :
       {InferenceMethod(MeanField{.tolerance = 1e-14}), InferenceMethod(StructuredMeanField{.tolerance = 1e-14}),
        InferenceMethod(GeneralizedMeanField{.cluster_size = 2, .tolerance = 1e-14})}) {
    CAPTURE(method.name());
    const auto loss = [&](const Potentials& p) { return structured_loss(mixed_graph(p, false), labels, {}, method); };
    CHECK_NOTHROW(check_gradients(loss, {x[0], x[1], x[2]}, {.tolerance = 1e-5, .forward_mode = false}));
    CHECK(structured_loss(mixed_graph(x), labels, {}, method).item() < exact);
  }
  CHECK(structured_loss(mixed_graph(x), labels, {}, TreeReweighted{.iterations = 1000}).item() > exact);
}

TEST_CASE("losses: a hidden label is left out of marginal losses") {
  const auto x = mixed_potentials(false);
  States partly = labels_a;
  partly[1] = -1;
  const Indices labels(index_tensor({6}, partly));
  for (const LossKind kind : {LossKind::univariate_log, LossKind::univariate_quadratic})
    CHECK(structured_loss(mixed_graph(x), labels, {kind}).item() ==
          doctest::Approx(enumerated(mixed_graph(x), partly, kind, 0)).epsilon(1e-10));
  // Two of the three pairs join the hidden variable.
  const auto result = infer(mixed_graph(x), JunctionTree{});
  double expected = -std::log(result.factors[1].value()(1, 2, 1)) - std::log(result.factors[2].value()(0, 1, 1, 0)) -
                    std::log(result.factors[3].value()(0, 2)) - std::log(result.factors[4].value()(0, 1));
  CHECK(structured_loss(mixed_graph(x), labels, {LossKind::clique_log}).item() ==
        doctest::Approx(expected).epsilon(1e-10));
  CHECK_THROWS_AS(structured_loss(mixed_graph(x), labels, {LossKind::likelihood}), IndexError);
  // So is what is observed, whatever its label says.
  auto seen = mixed_graph(x);
  seen.observe(1, 2);
  CHECK(structured_loss(seen, Indices(index_tensor({6}, labels_a)), {LossKind::univariate_log}).item() ==
        doctest::Approx(structured_loss(seen, labels, {LossKind::univariate_log}).item()));
}

TEST_CASE("losses: approximate decoding finds what it finds, and the loss is not below zero") {
  const auto x = mixed_potentials(false);
  const Indices labels(index_tensor({6}, labels_a));
  for (const InferenceMethod& method : {InferenceMethod(BeliefPropagation{.damping = .5}), InferenceMethod(MeanField{}),
                                        InferenceMethod(Gibbs{.iterations = 200, .burn_in = 0})})
    for (const LossKind kind : {LossKind::max_margin, LossKind::perceptron}) {
      const double loss = structured_loss(mixed_graph(x), labels, {kind}, method).item();
      CHECK(loss >= 0);
      CHECK(loss <= structured_loss(mixed_graph(x), labels, {kind}).item() + 1e-12);
    }
  // The labels are the best assignment: nothing is better, a cost alone is.
  const auto best = infer(mixed_graph(x), JunctionTree{.maximum = true});
  CHECK(structured_loss(mixed_graph(x), Indices(*best.assignment), {LossKind::perceptron}).item() == 0);
  CHECK(structured_loss(mixed_graph(x), Indices(*best.assignment), {LossKind::max_margin, 100}).item() > 0);
}

TEST_CASE("losses: what they are not given") {
  const auto x = mixed_potentials(false);
  const auto graph = mixed_graph(x);
  const Indices labels(index_tensor({6}, labels_a));
  CHECK_THROWS_AS(structured_loss(graph, Indices(index_tensor({5}, {0, 0, 0, 0, 0}))), ShapeError);
  CHECK_THROWS_AS(structured_loss(graph, Indices(index_tensor({6}, {3, 0, 0, 0, 0, 0}))), IndexError);
  // Constants as marginals or log-partition would be training without a gradient.
  for (const LossKind kind : {LossKind::univariate_log, LossKind::clique_quadratic})
    CHECK_THROWS_AS(structured_loss(graph, labels, {kind}, MeanField{.gradient = GradientMode::likelihood}),
                    GraphError);
  CHECK_THROWS_AS(structured_loss(graph, labels, {}, Gibbs{.iterations = 10, .burn_in = 0}), GraphError);
  auto seen = graph;
  seen.observe(0, 1);  // labelled 2
  for (const LossKind kind : {LossKind::likelihood, LossKind::pseudo_likelihood, LossKind::piecewise,
                              LossKind::perceptron, LossKind::max_margin})
    CHECK_THROWS_AS(structured_loss(seen, labels, {kind}), NumericalError);
  FactorGraph<double> impossible;
  const auto a = impossible.add_variables("a", {1}, 2);
  impossible.add_unary("unary", a, Var<double>::filled({2}, -std::numeric_limits<double>::infinity()));
  CHECK_THROWS_AS(structured_loss(impossible, Indices{0}, {LossKind::univariate_log}), NumericalError);
}
