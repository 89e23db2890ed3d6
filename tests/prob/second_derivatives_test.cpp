#include <doctest/doctest.h>

#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/grid.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/pairwise.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;
using testing_models::normal_numbers;
using testing_models::normal_variables;

// check_gradients at order 2 differentiates the recorded gradient, which is the composed rule, and compares it with
// differences of the fused one.
namespace {
const CheckGradientsOptions second{.order = 2, .directions = 1, .tolerance = 1e-5, .forward_mode = false};

/// Both rules for the same gradient.
void same_gradients(const Function<double>& f, const std::vector<Var<double>>& x) {
  const auto fused = grad(f(x), x), composed = grad(f(x), x, {.create_graph = true});
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::int64_t e = 0; e < x[i].size(); ++e) CHECK(std::abs(fused[i].data()[e] - composed[i].data()[e]) < 1e-9);
}
}  // namespace

TEST_CASE("second derivatives: grids") {
  for (const auto layout : {GridLayout::states_last, GridLayout::states_first}) {
    const Shape shape = layout == GridLayout::states_last ? Shape{2, 2, 3, 2} : Shape{2, 2, 2, 3};
    const Var<double> weights(normal_numbers(shape, 3));
    for (const double damping : {0.0, .3}) {
      const Function<double> propagation = [&](const auto& x) {
        return sum(weights * exp(grid_belief_propagation(x[0], x[1], x[2], {3, damping}, layout)));
      };
      const auto x = normal_variables({shape, {2, 2}, {2, 2}});
      same_gradients(propagation, x);
      CHECK_NOTHROW(check_gradients(propagation, x, second));
      for (const Shape& compatibility : {Shape{2, 2}, Shape{2, 2, 2}, Shape{4, 2, 2}}) {
        const Function<double> field = [&](const auto& p) {
          return sum(weights * exp(grid_mean_field(p[0], p[1], {3, damping}, layout)));
        };
        const auto y = normal_variables({shape, compatibility});
        same_gradients(field, y);
        CHECK_NOTHROW(check_gradients(field, y, second));
      }
    }
  }
  // With an impossible pair.
  for (const double damping : {0., .3}) {
    const Function<double> forbidding = [&](const auto& x) {
      const auto tables = where(Indices{0, 1, 0, 0}, Var<double>::filled({1}, -std::numeric_limits<double>::infinity()),
                                reshape(x[1], Shape{4}));
      const auto pair = reshape(tables, Shape{2, 2});
      return sum(square(exp(grid_belief_propagation(x[0], pair, pair, {3, damping}))));
    };
    const auto x = normal_variables({{2, 3, 2}, {2, 2}});
    same_gradients(forbidding, x);
    CHECK_NOTHROW(check_gradients(forbidding, x, second));
  }
  // A grid of one row has no vertical neighbours.
  const auto row = normal_variables({{1, 3, 2}, {2, 2}});
  CHECK_NOTHROW(check_gradients(
      [](const auto& x) {
        return sum(square(grid_mean_field(x[0], x[1], {2, 0})));
      },
      row, second));
}

TEST_CASE("second derivatives: pairwise factors") {
  const PairwiseFactors factors(4, Indices{0, 2, 1, 0}, Indices{1, 1, 3, 3});
  const Var<double> weights(normal_numbers({2, 4, 3}, 9));
  for (const Shape& shape : {Shape{4, 3, 3}, Shape{1, 3, 3}, Shape{2, 4, 3, 3}}) {
    const Function<double> f = [&](const auto& x) {
      return sum(weights * exp(pairwise_belief_propagation(factors, x[0], x[1], {3, .1})));
    };
    const auto x = normal_variables({{2, 4, 3}, shape});
    same_gradients(f, x);
    CHECK_NOTHROW(check_gradients(f, x, second));
  }
  // With impossible pairs: what is forbidden stays so.
  const Indices never{0, 1, 0, 0, 0, 0, 0, 0, 1};
  for (const double damping : {0., .3}) {
    const Function<double> forbidding = [&](const auto& x) {
      const auto tables = where(never, Var<double>::filled({1}, -std::numeric_limits<double>::infinity()),
                                reshape(x[1], Shape{x[1].size() / 9, 9}));
      return sum(weights *
                 exp(pairwise_belief_propagation(factors, x[0], reshape(tables, Shape{4, 3, 3}), {3, damping})));
    };
    const auto x = normal_variables({{2, 4, 3}, {4, 3, 3}});
    same_gradients(forbidding, x);
    CHECK_NOTHROW(check_gradients(forbidding, x, second));
  }
  const Function<double> indexed = [&](const auto& x) {
    return sum(square(pairwise_belief_propagation(factors, x[0], x[1], {2, 0}, Indices{1, 0, 1, 1})));
  };
  CHECK_NOTHROW(check_gradients(indexed, normal_variables({{4, 3}, {2, 3, 3}}), second));
}

TEST_CASE("second derivatives: inference in factor graphs, by every way of gradients") {
  const auto build = [](const std::vector<Var<double>>& x) {
    FactorGraph<double> graph;
    const auto a = graph.add_variables("a", {2, 3}, 2);
    graph.add_unary("unary", a, x[0]);
    for (const auto& edges : grid_edges(graph.ids(a))) graph.add_factors("edges", edges, x[1]);
    graph.observe(1, 0);
    return graph;
  };
  const auto mixed = [](const InferenceResult<double>& r) {
    return sum(r.log_partition) + sum(r.variables[0] * r.variables[0]) + sum(r.factors[1] * r.factors[1]);
  };
  for (const auto mode : {GradientMode::unrolled, GradientMode::checkpointed}) {
    const auto x = normal_variables({{2, 2, 3, 2}, {2, 2}});
    const Function<double> propagation = [&](const auto& p) {
      return mixed(
          infer(build(p), BeliefPropagation{.iterations = 5, .tolerance = 0, .damping = .2, .gradient = mode}));
    };
    const Function<double> field = [&](const auto& p) {
      return mixed(infer(
          build(p),
          MeanField{
              .iterations = 5, .tolerance = 0, .update = MeanFieldUpdate::parallel, .damping = .2, .gradient = mode}));
    };
    const Function<double> weighted = [&](const auto& p) {
      return mixed(infer(build(p), BeliefPropagation{.iterations = 5,
                                                     .tolerance = 0,
                                                     .damping = .2,
                                                     .temperature = .8,
                                                     .gradient = mode,
                                                     .weights = {1, .4, .7}}));
    };
    for (const auto& f : {propagation, field, weighted}) {
      same_gradients(f, x);
      CHECK_NOTHROW(check_gradients(f, x, second));
    }
  }
  // Elements of a batch that converge after different numbers of iterations.
  auto apart = normal_variables({{2, 2, 3, 2}, {2, 2}}, .5);
  for (std::int64_t i = 0; i < 12; ++i) apart[0].mutable_data()[i] *= 8;
  for (const double tolerance : {1e-3, 1e-6})
    for (const auto mode : {GradientMode::unrolled, GradientMode::truncated}) {
      CAPTURE(static_cast<int>(mode));
      same_gradients(
          [&](const auto& p) {
            return mixed(infer(build(p), BeliefPropagation{.tolerance = tolerance, .gradient = mode, .truncation = 2}));
          },
          apart);
      same_gradients(
          [&](const auto& p) {
            return mixed(infer(
                build(p),
                MeanField{
                    .tolerance = tolerance, .update = MeanFieldUpdate::parallel, .gradient = mode, .truncation = 2}));
          },
          apart);
    }
  const Function<double> implicit = [&](const auto& p) {
    return mixed(
        infer(build(p), BeliefPropagation{.iterations = 500, .tolerance = 1e-14, .gradient = GradientMode::implicit}));
  };
  same_gradients(implicit, apart);
  CHECK_NOTHROW(check_gradients(implicit, normal_variables({{2, 3, 2}, {2, 2}}, .5), second));
  // The log-partition's own gradient with messages as constants.
  same_gradients(
      [&](const auto& p) {
        return sum(infer(build(p), BeliefPropagation{.gradient = GradientMode::likelihood}).log_partition);
      },
      apart);
}

TEST_CASE("second derivatives: the ways of gradients agree where they must") {
  const auto build = [](const std::vector<Var<double>>& x) {
    FactorGraph<double> graph;
    const auto a = graph.add_variables("a", {3, 3}, 3);
    graph.add_unary("unary", a, x[0]);
    graph.add_factors("edges", concatenate_edges(grid_edges(graph.ids(a))), x[1]);
    return graph;
  };
  const auto x = normal_variables({{3, 3, 3}, {12, 3, 3}}, .5);
  const auto gradient = [&](const auto& method) {
    const auto r = infer(build(x), method);
    return grad(sum(r.log_partition) + sum(r.variables[0] * r.variables[0]), x);
  };
  const auto close = [](const std::vector<Var<double>>& a, const std::vector<Var<double>>& b, double tolerance) {
    for (std::size_t i = 0; i < a.size(); ++i)
      for (std::int64_t e = 0; e < a[i].size(); ++e) CHECK(std::abs(a[i].data()[e] - b[i].data()[e]) <= tolerance);
  };
  const auto by = [&](auto method, GradientMode mode, std::int64_t iterations, std::int64_t truncation) {
    method.gradient = mode;
    method.iterations = iterations;
    method.truncation = truncation;
    return gradient(method);
  };
  const auto all_agree = [&](const auto& method) {
    auto few = method;
    few.tolerance = 0;
    const auto unrolled = by(few, GradientMode::unrolled, 9, 5);
    close(by(few, GradientMode::checkpointed, 9, 5), unrolled, 1e-14);
    close(by(few, GradientMode::truncated, 9, 9), unrolled, 1e-12);
    close(by(few, GradientMode::truncated, 9, 20), unrolled, 1e-12);
    auto many = method;
    many.tolerance = 1e-15;
    const auto whole = by(many, GradientMode::unrolled, 1000, 5);
    close(by(many, GradientMode::implicit, 1000, 5), whole, 1e-9);
    close(by(many, GradientMode::truncated, 1000, 300), whole, 1e-9);
  };
  all_agree(BeliefPropagation{.damping = .2});
  all_agree(BeliefPropagation{.damping = .2, .temperature = .8, .weights = {1, .7}});
  all_agree(MeanField{.update = MeanFieldUpdate::parallel, .damping = .4});
}

TEST_CASE("second derivatives: chains with lengths") {
  const Indices lengths{4, 2};
  const Function<double> f = [&](const auto& x) {
    const ChainPotentials<double> chain{x[0], x[1], lengths, x[2], x[3]};
    const auto log_partition = chain_log_partition(chain);
    return sum(log_partition * log_partition);
  };
  for (const Shape& transitions : {Shape{3, 3}, Shape{3, 3, 3}, Shape{2, 3, 3, 3}})
    CHECK_NOTHROW(check_gradients(f, normal_variables({{2, 4, 3}, transitions, {3}, {3}}), second));
}
