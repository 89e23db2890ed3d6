#include <doctest/doctest.h>

#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/message_engine.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;
using testing_models::normal_variables;

namespace {

using V = Var<double>;
constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

/// Loops of pairs and triples over variables of two and three states, in a batch of two; entries of both are
/// impossible if `forbidden`.
FactorGraph<double> graph_of(const std::vector<V>& x, bool forbidden = false) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {4}, 2);
  graph.add_variables("b", {2}, 3);
  graph.add_unary("unary", a, x[0]);
  const auto without = [&](const V& table, const std::vector<std::int64_t>& entries) {
    if (!forbidden) return table;
    IndexTensor never = empty_tensor<std::int64_t>(table.shape());
    std::fill(never.begin(), never.end(), 0);
    for (const std::int64_t e : entries) never.data()[e] = 1;
    return where(Indices(never), V::filled({1}, minus_infinity), table);
  };
  graph.add_factors("pairs", index_tensor({4, 2}, {0, 1, 1, 2, 2, 3, 3, 0}), without(x[1], {1, 5, 10}));
  graph.add_factors("triples", index_tensor({2, 3}, {0, 4, 5, 2, 5, 4}), without(x[2], {0, 4, 7}));
  graph.observe(3, 1);
  return graph;
}
std::vector<V> potentials() {
  return normal_variables({{2, 4, 2}, {4, 2, 2}, {2, 3, 3}}, .8);
}

V total(const InferenceResult<double>& r) {
  V out = sum(r.log_partition);
  for (const auto& marginals : r.variables) out = out + sum(marginals * marginals);
  for (const auto& marginals : r.factors) out = out + sum(marginals * marginals * marginals);
  return out;
}

const auto schedules = {Schedule::sequential, Schedule::random, Schedule::residual, Schedule::tree};

BeliefPropagation options_of(Schedule schedule, GradientMode mode) {
  return {.iterations = 4, .tolerance = 0, .damping = .2, .schedule = schedule, .gradient = mode, .seed = 3};
}

void close(const std::vector<V>& a, const std::vector<V>& b, double tolerance) {
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::int64_t e = 0; e < a[i].size(); ++e) CHECK(std::abs(a[i].data()[e] - b[i].data()[e]) <= tolerance);
}

}  // namespace

TEST_CASE("gradients through the iterations of any schedule are those of the very computation") {
  const auto x = potentials();
  for (const auto schedule : schedules)
    for (const bool forbidden : {false, true})
      for (const bool weighted : {false, true}) {
        CAPTURE(static_cast<int>(schedule));
        CAPTURE(forbidden);
        CAPTURE(weighted);
        auto options = options_of(schedule, GradientMode::unrolled);
        if (weighted) options.weights = {.9, .7, .8}, options.temperature = 1.3;
        const auto value = [&](const std::vector<V>& p) { return total(infer(graph_of(p, forbidden), options)); };
        check_gradients(value, x, {.directions = 3, .forward_mode = false});
        const auto unrolled = grad(value(x), x);
        options.gradient = GradientMode::checkpointed;
        close(grad(value(x), x), unrolled, 1e-13);
        options.gradient = GradientMode::truncated;
        options.truncation = 4;
        close(grad(value(x), x), unrolled, 1e-15);
      }
}

TEST_CASE("gradients at temperature 0 pass through the maxima that any schedule took") {
  const auto x = potentials();
  for (const auto schedule : schedules) {
    auto options = options_of(schedule, GradientMode::unrolled);
    options.temperature = 0;
    check_gradients([&](const std::vector<V>& p) { return sum(infer(graph_of(p), options).log_partition); }, x,
                    {.forward_mode = false});
  }
}

TEST_CASE("truncated gradients of any schedule: what came before the last sweeps is constant") {
  for (const auto schedule : {Schedule::sequential, Schedule::tree, Schedule::residual}) {
    CAPTURE(static_cast<int>(schedule));
    const auto x = potentials();
    auto options = options_of(schedule, GradientMode::truncated);
    options.truncation = 2;
    const auto found = grad(sum(infer(graph_of(x), options).log_partition), x);
    // Against differences of the last sweeps alone, from the messages after the first two.
    const auto structure = graph_of(x).structure();
    detail::MessageEngine engine(structure, 1, {});
    std::vector<std::int32_t> order(static_cast<std::size_t>(engine.factors()));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
    if (schedule == Schedule::tree) order = engine.tree_order();
    const auto sweep = [&](std::vector<double>& messages) {
      std::vector<double> residuals;
      if (schedule == Schedule::residual)
        engine.residual_sweep(residuals, options.damping, messages.data());
      else
        engine.sweep(order, options.damping, messages.data());
    };
    const auto load = [&](const std::vector<V>& p, std::int64_t b) {
      std::vector<const double*> data;
      std::vector<PotentialLayout> layouts;
      for (std::size_t g = 0; g < p.size(); ++g) {
        data.push_back(p[g].data());
        layouts.push_back(PotentialLayout::of(structure->factors[g], p[g].shape()));
      }
      engine.load(data, layouts, b);
    };
    const auto value = [&](const std::vector<V>& p) {
      double out = 0;
      for (std::int64_t b = 0; b < 2; ++b) {
        load(x, b);
        auto messages = engine.start();
        for (int i = 0; i < 2; ++i) sweep(messages);
        load(p, b);
        for (int i = 0; i < 2; ++i) sweep(messages);
        out += engine.read(messages.data()).log_partition;
      }
      return out;
    };
    const auto direction = normal_variables({{2, 4, 2}, {4, 2, 2}, {2, 3, 3}}, 1, 5);
    const double h = 1e-5;
    std::vector<V> ahead, behind;
    double expected = 0;
    for (std::size_t g = 0; g < x.size(); ++g) {
      ahead.push_back(x[g] + h * direction[g]);
      behind.push_back(x[g] - h * direction[g]);
      for (std::int64_t e = 0; e < x[g].size(); ++e) expected += found[g].data()[e] * direction[g].data()[e];
    }
    CHECK((value(ahead) - value(behind)) / (2 * h) == doctest::Approx(expected).epsilon(1e-8));
  }
}

TEST_CASE("second derivatives of messages on any graph of tables, flooding, and of any schedule at the fixed point") {
  const CheckGradientsOptions second{.order = 2, .directions = 2, .tolerance = 1e-5, .forward_mode = false};
  const auto x = potentials();
  const auto both = [&](const BeliefPropagation& options, bool forbidden) {
    const auto value = [&](const std::vector<V>& p) { return total(infer(graph_of(p, forbidden), options)); };
    close(grad(value(x), x, {.create_graph = true}), grad(value(x), x), 1e-9);
    CHECK_NOTHROW(check_gradients(value, x, second));
  };
  for (const bool forbidden : {false, true}) {
    CAPTURE(forbidden);
    for (const auto mode : {GradientMode::unrolled, GradientMode::checkpointed})
      for (const double damping : {0., .3})
        both({.iterations = 3, .tolerance = 0, .damping = damping, .gradient = mode}, forbidden);
    both({.iterations = 3, .tolerance = 0, .damping = .2, .temperature = .7, .weights = {.9, .5, .8}}, forbidden);
    both({.iterations = 4, .tolerance = 0, .gradient = GradientMode::truncated, .truncation = 9}, forbidden);
    for (const auto schedule : {Schedule::flooding, Schedule::sequential})
      both({.iterations = 2000,
            .tolerance = 1e-14,
            .temperature = 1.5,
            .schedule = schedule,
            .gradient = GradientMode::implicit},
           forbidden);
  }
}

TEST_CASE("derivatives of messages that there are not are refused with the reason") {
  const auto x = potentials();
  const auto curved = [&](const BeliefPropagation& options) {
    grad(sum(infer(graph_of(x), options).log_partition), x, {.create_graph = true});
  };
  CHECK_THROWS_WITH_AS(curved(options_of(Schedule::residual, GradientMode::unrolled)),
                       doctest::Contains("second derivatives through iterations are for the flooding schedule"),
                       GraphError);
  CHECK_THROWS_WITH_AS(curved({.iterations = 3, .temperature = 0}), doctest::Contains("piecewise linear"), GraphError);
}
