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

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::all_assignments;
using testing_models::index_tensor;
using testing_models::log_sum;
using testing_models::normal_variables;
using testing_models::plain_score;

namespace {

using Potentials = std::vector<Var<double>>;
using States = std::vector<std::int64_t>;

constexpr LossKind all_kinds[] = {LossKind::likelihood,       LossKind::pseudo_likelihood,    LossKind::piecewise,
                                  LossKind::univariate_log,   LossKind::univariate_quadratic, LossKind::clique_log,
                                  LossKind::clique_quadratic, LossKind::max_margin,           LossKind::perceptron};

/// A cycle, a triple, and factors that count, over variables of two cardinalities.
FactorGraph<double> mixed_graph(const Potentials& x, bool structured = true) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {3}, 3);
  graph.add_variables("b", {3}, 2);
  graph.add_unary("unary", a, x[0]);
  graph.add_factors("pairs", complete_edges(graph.ids(a)), x[1]);
  graph.add_factors("triple", index_tensor({1, 3}, {2, 3, 4}), x[2]);
  if (structured) graph.add_structured("count", FactorKind::cardinality, index_tensor({1, 3}, {3, 4, 5}), x[3]);
  if (structured) graph.add_structured("or", FactorKind::logic_or, index_tensor({1, 3}, {5, 3, 4}), x[4]);
  return graph;
}
Potentials mixed_potentials(bool batched, double spread = 1) {
  return normal_variables({batched ? Shape{2, 3, 3} : Shape{3, 3}, {3, 3}, {1, 3, 2, 2}, {4}, {1, 2}}, spread);
}

/// Each loss by enumeration.
double enumerated(const FactorGraph<double>& graph, const States& y, LossKind kind, std::int64_t b, double cost = 1) {
  const auto all = all_assignments(graph);
  std::vector<double> scores;
  for (const auto& states : all) scores.push_back(plain_score(graph, states, b));
  const double own = plain_score(graph, y, b), log_partition = log_sum(scores);
  std::vector<bool> seen(y.size());
  for (const auto& [variable, state] : graph.evidence()) seen[static_cast<std::size_t>(variable)] = true;
  double total = 0;
  switch (kind) {
    case LossKind::likelihood:
      return log_partition - own;
    case LossKind::pseudo_likelihood:
      for (std::size_t v = 0; v < y.size(); ++v) {
        if (seen[v]) continue;
        std::vector<double> terms;
        States states = y;
        for (states[v] = 0; states[v] < graph.cardinality(static_cast<std::int64_t>(v)); ++states[v])
          terms.push_back(plain_score(graph, states, b));
        total += log_sum(terms) - own;
      }
      return total;
    case LossKind::piecewise:
      for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
        const auto& group = graph.factor_groups()[g];
        for (std::int64_t f = 0; f < group.factors(); ++f) {
          // A graph of this factor alone; variables outside its scope do not change its score, only their number.
          FactorGraph<double> alone;
          for (const auto& variables : graph.variable_groups())
            alone.add_variables(variables.name, variables.shape, variables.cardinality);
          const auto layout = PotentialLayout::of(group, graph.all_potentials()[g].shape());
          Tensor<double> own_potentials = empty_tensor<double>(group.table());
          std::copy_n(graph.all_potentials()[g].data() + b * layout.batch_stride + f * layout.factor_stride,
                      layout.entries, own_potentials.data());
          const IndexTensor scope = index_tensor(
              {1, group.arity()},
              States(group.scopes.data() + f * group.arity(), group.scopes.data() + (f + 1) * group.arity()));
          if (group.kind == FactorKind::table)
            alone.add_factors("alone", scope, Var<double>(std::move(own_potentials)));
          else
            alone.add_structured("alone", group.kind, scope, Var<double>(std::move(own_potentials)));
          alone.observe(graph.evidence());
          for (std::int64_t v = 0; v < graph.variables(); ++v)
            if (std::find(scope.begin(), scope.end(), v) == scope.end() && !seen[static_cast<std::size_t>(v)])
              alone.observe(v, 0);
          std::vector<double> terms;
          for (const auto& states : all_assignments(alone)) terms.push_back(plain_score(alone, states));
          total += log_sum(terms) - plain_score(alone, y);
        }
      }
      return total;
    case LossKind::max_margin:
    case LossKind::perceptron: {
      double best = own;
      for (std::size_t i = 0; i < all.size(); ++i) {
        double wrong = 0;
        for (std::size_t v = 0; v < y.size(); ++v) wrong += all[i][v] != y[v];
        best = std::max(best, scores[i] + (kind == LossKind::max_margin ? cost * wrong : 0));
      }
      return best - own;
    }
    default:
      break;
  }
  const auto judge = [&](const std::vector<double>& p, std::size_t label) {
    if (kind == LossKind::univariate_log || kind == LossKind::clique_log) return -std::log(p[label]);
    double distance = 0;
    for (std::size_t k = 0; k < p.size(); ++k) distance += (p[k] - (k == label)) * (p[k] - (k == label));
    return distance;
  };
  const auto marginal = [&](std::size_t entries, const auto& entry) {
    std::vector<double> p(entries, 0.0);
    for (std::size_t i = 0; i < all.size(); ++i)
      if (const auto e = entry(all[i]); e >= 0) p[static_cast<std::size_t>(e)] += std::exp(scores[i] - log_partition);
    return judge(p, static_cast<std::size_t>(entry(y)));
  };
  if (kind == LossKind::univariate_log || kind == LossKind::univariate_quadratic) {
    for (std::size_t v = 0; v < y.size(); ++v)
      if (y[v] >= 0 && !seen[v])
        total += marginal(static_cast<std::size_t>(graph.cardinality(static_cast<std::int64_t>(v))),
                          [&](const States& s) { return s[v]; });
    return total;
  }
  for (const auto& group : graph.factor_groups())
    for (std::int64_t f = 0; group.arity() > 1 && f < group.factors(); ++f)
      total += marginal(static_cast<std::size_t>(group.table().elements()), [&](const States& s) {
        States local;
        for (std::int64_t i = 0; i < group.arity(); ++i)
          local.push_back(s[static_cast<std::size_t>(group.scopes[f * group.arity() + i])]);
        return group.entry(local.data());
      });
  return total;
}

const States labels_a = {2, 0, 1, 1, 0, 1}, labels_b = {0, 0, 2, 0, 1, 1};

}  // namespace

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
