#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/exact.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/inference/method.hpp>
#include <tapestry/prob/inference/quality.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

constexpr double forbidden = -std::numeric_limits<double>::infinity();

enum class Cause {
  factor,        // forbids all states of a variable
  evidence,      // is a state that a factor forbids
  contradiction  // each factor allows something, all together nothing: two colours for a cycle of three
};

/// Two examples on a cycle of three, the second possible.
struct Example {
  Var<double> unary, pairs;
  Cause cause;

  explicit Example(Cause why) : cause(why) {
    Tensor<double> u = normal_numbers({2, 3, 2}, 1), p = normal_numbers({2, 3, 2, 2}, 2);
    if (why == Cause::factor) u.data()[0] = u.data()[1] = forbidden;
    if (why == Cause::evidence) u.data()[1] = forbidden;
    for (std::int64_t e = 0; e < 3 && why == Cause::contradiction; ++e)
      p.data()[4 * e] = p.data()[4 * e + 3] = forbidden;
    unary = Var<double>(std::move(u), true);
    pairs = Var<double>(std::move(p), true);
  }
  FactorGraph<double> graph(const Var<double>& u, const Var<double>& p) const {
    FactorGraph<double> out;
    const auto a = out.add_variables("a", {3}, 2);
    out.add_unary("unary", a, u);
    out.add_factors("pairs", complete_edges(out.ids(a)), p);
    if (cause == Cause::evidence) out.observe(0, 1);
    return out;
  }
  FactorGraph<double> graph() const { return graph(unary, pairs); }
  /// The second example without a batch, its potentials constant.
  FactorGraph<double> second() const {
    Tensor<double> u = empty_tensor<double>({3, 2}), p = empty_tensor<double>({3, 2, 2});
    std::copy_n(unary.data() + 6, 6, u.data());
    std::copy_n(pairs.data() + 12, 12, p.data());
    return graph(Var<double>(std::move(u)), Var<double>(std::move(p)));
  }
};

bool zero(const double* x, std::int64_t n) {
  return std::all_of(x, x + n, [](double one) { return one == 0; });
}

}  // namespace

TEST_CASE("impossible batch elements: -inf, marginals of zero, no gradient, and the others as ever, by every method") {
  const std::vector<InferenceMethod> methods = {
      JunctionTree{},
      BeliefPropagation{},
      BeliefPropagation{.gradient = GradientMode::likelihood},
      BeliefPropagation{.gradient = GradientMode::implicit},
      BeliefPropagation{.schedule = Schedule::sequential, .gradient = GradientMode::likelihood},
      BeliefPropagation{.temperature = 0},
      TreeReweighted{},
      MeanField{},
      MeanField{.gradient = GradientMode::implicit},
      MeanField{.update = MeanFieldUpdate::parallel},
      MeanField{.update = MeanFieldUpdate::parallel, .gradient = GradientMode::implicit},
      StructuredMeanField{},
      GeneralizedMeanField{},
      GeneralizedMeanField{.clusters = {0, 1, 2}},
      GeneralizedMeanField{.clusters = {0, 0, 1}, .iterations = 2, .tolerance = 0},
      Gibbs{.iterations = 50, .burn_in = 5, .search = 1000},
      Gibbs{.iterations = 50, .burn_in = 5, .blocks = GibbsBlocks::trees, .search = 1000}};
  for (const Cause cause : {Cause::factor, Cause::evidence, Cause::contradiction})
    for (std::size_t m = 0; m < methods.size(); ++m) {
      // Parallel updates take finite tables alone.
      if (cause == Cause::contradiction && (m == 9 || m == 10)) continue;
      CAPTURE(static_cast<int>(cause));
      CAPTURE(m);
      const Example example(cause);
      const auto result = methods[m](example.graph());
      CHECK_FALSE(result.possible);
      CHECK(describe(result).find("no assignment agrees with evidence and factors") == 0);
      CHECK(result.log_partition.data()[0] == forbidden);
      CHECK(std::isfinite(result.log_partition.data()[1]));
      for (const auto* groups : {&result.variables, &result.factors})
        for (const auto& x : *groups) CHECK(zero(x.data(), x.size() / 2));
      // Samples depend on the example's number.
      if (m < 15) {
        const auto second = methods[m](example.second());
        CHECK(second.possible);
        CHECK(std::abs(result.log_partition.data()[1] - second.log_partition.item()) < 1e-8);
        for (std::int64_t i = 0; i < 6; ++i)
          CHECK(std::abs(result.variables[0].data()[6 + i] - second.variables[0].data()[i]) < 1e-8);
      }
      if (!result.log_partition.requires_grad()) continue;
      auto total = sum(result.log_partition);
      for (const auto* groups : {&result.variables, &result.factors})
        for (const auto& x : *groups)
          if (x.requires_grad()) total = total + sum(x * x);
      total.backward();
      const auto u = example.unary.gradient(), p = example.pairs.gradient();
      CHECK(zero(u.data(), 6));
      CHECK(zero(p.data(), 12));
      double most = 0;
      for (std::int64_t i = 0; i < 6; ++i) most = std::max(most, std::abs(u.data()[6 + i]));
      CHECK(std::isfinite(most));
      CHECK(most > .1);
      for (std::int64_t i = 0; i < 12; ++i) CHECK(std::isfinite(p.data()[12 + i]));
    }
}

TEST_CASE("impossible evidence without a batch axis has no gradient either, and no NaN") {
  for (const auto& method :
       {InferenceMethod(JunctionTree{}), InferenceMethod(BeliefPropagation{}), InferenceMethod(MeanField{}),
        InferenceMethod(GeneralizedMeanField{}), InferenceMethod(MeanField{.update = MeanFieldUpdate::parallel})}) {
    CAPTURE(method.name());
    Tensor<double> unary = normal_numbers({3, 2}, 1);
    unary(0, 0) = unary(0, 1) = forbidden;
    const Var<double> x(std::move(unary), true);
    FactorGraph<double> graph;
    const auto a = graph.add_variables("a", {3}, 2);
    graph.add_unary("unary", a, x);
    graph.add_factors("pairs", complete_edges(graph.ids(a)), Var<double>(normal_numbers({3, 2, 2}, 2)));
    const auto result = method(graph);
    CHECK(result.log_partition.item() == forbidden);
    CHECK(zero(result.variables[0].data(), 6));
    result.log_partition.backward();
    CHECK(zero(x.gradient().data(), 6));
  }
}

TEST_CASE("a search for possible states that is given up is said, and proves nothing") {
  // Twelve variables of eleven states, all different: too many to try.
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {12}, 11);
  Tensor<double> differ = empty_tensor<double>({11, 11});
  for (std::int64_t i = 0; i < 121; ++i) differ.data()[i] = i % 12 == 0 ? forbidden : 0;
  const Var<double> x(std::move(differ), true);
  graph.add_factors("differ", complete_edges(graph.ids(a)), x);
  const auto result = infer(graph, MeanField{});
  CHECK(result.possible);
  CHECK(result.log_partition.item() == forbidden);
  CHECK(describe(result).find("lower bound -inf; no assignment that evidence and factors allow was found") == 0);
  result.log_partition.backward();
  CHECK(zero(x.gradient().data(), 121));
  for (const double p : result.variables[0].value()) CHECK(p >= 0);
}
