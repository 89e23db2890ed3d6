#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/graph/fixed_point.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/mean_field.hpp>

#include "prob/normal_numbers.hpp"
#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;
using testing_models::normal_numbers;
using testing_models::normal_variables;

namespace {

constexpr double forbidden = -std::numeric_limits<double>::infinity();

/// A cycle of five with a chord, a factor of three, and one of another kind; a batch; something observed; something
/// forbidden.
FactorGraph<double> knot(const std::vector<Var<double>>& x) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {4}, 3);
  graph.add_variables("b", {3}, 2);
  graph.add_unary("a", a, x[0]);
  graph.add_factors("pairs", index_tensor({4, 2}, {0, 1, 1, 2, 2, 3, 3, 0}), x[1]);
  graph.add_factors("three", index_tensor({1, 3}, {0, 2, 4}), x[2]);
  graph.add_structured("some", FactorKind::cardinality, index_tensor({1, 3}, {4, 5, 6}), x[3]);
  Tensor<double> state = Tensor<double>::from_shape({3});
  state.fill(0);
  state(1) = forbidden;
  graph.add_factors("not", index_tensor({1, 1}, {2}), Var<double>(std::move(state)));
  graph.observe(1, 2);
  graph.observe(6, 1);
  return graph;
}

std::vector<Var<double>> potentials(double spread) {
  return normal_variables({{2, 4, 3}, {3, 3}, {1, 3, 3, 2}, {4}}, spread);
}

Var<double> mixed(const InferenceResult<double>& r) {
  Var<double> total = sum(r.log_partition) * .7;
  std::uint64_t seed = 90;
  for (const auto* parts : {&r.variables, &r.factors})
    for (const auto& part : *parts)
      total = total + sum(part * part * Var<double>(normal_numbers(part.shape(), ++seed, 1)));
  return total;
}

template <class Options>
std::vector<double> gradient(Options options, GradientMode mode, std::int64_t truncation = 5) {
  options.gradient = mode;
  options.truncation = truncation;
  const auto x = potentials(.5);
  mixed(infer(knot(x), options)).backward();
  std::vector<double> out;
  for (const auto& p : x) out.insert(out.end(), p.gradient().begin(), p.gradient().end());
  return out;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

template <class Options>
void check_modes(Options options) {
  CAPTURE(Options::name);
  // Of the very computation, long before it has converged.
  options.tolerance = 0;
  for (const std::int64_t iterations : {0, 1, 4}) {
    options.iterations = iterations;
    CAPTURE(iterations);
    CHECK_NOTHROW(check_gradients([&](const auto& x) { return mixed(infer(knot(x), options)); }, potentials(.5),
                                  {.forward_mode = false}));
  }
  options.iterations = 7;
  const auto unrolled = gradient(options, GradientMode::unrolled);
  CHECK(distance(gradient(options, GradientMode::checkpointed), unrolled) < 1e-12);
  CHECK(distance(gradient(options, GradientMode::truncated, 7), unrolled) < 1e-12);
  CHECK(distance(gradient(options, GradientMode::truncated, 1), unrolled) > 1e-4);
  // At the fixed point.
  options.iterations = 1000;
  options.tolerance = 1e-13;
  options.gradient = GradientMode::implicit;
  CHECK_NOTHROW(check_gradients([&](const auto& x) { return mixed(infer(knot(x), options)); }, potentials(.5),
                                {.forward_mode = false}));
  const auto x = potentials(.5);
  const auto result = infer(knot(x), options);
  mixed(result).backward();
  CHECK(result.adjoint->converged);
  CHECK(result.adjoint->iterations > 1);
  CHECK(distance(gradient(options, GradientMode::truncated, 1), gradient(options, GradientMode::implicit)) > 1e-4);
  options.gradient = GradientMode::likelihood;
  const auto constant = infer(knot(x), options);
  CHECK(constant.log_partition.requires_grad());
  CHECK_FALSE(constant.variables[0].requires_grad());
}

}  // namespace

TEST_CASE("coordinate mean field: gradients of marginals in every mode") {
  check_modes(MeanField{});
}
TEST_CASE("structured mean field: gradients of marginals in every mode") {
  check_modes(StructuredMeanField{});
}
TEST_CASE("generalized mean field: gradients of marginals in every mode") {
  check_modes(GeneralizedMeanField{.clusters = {0, 0, 0, 1, 1, 1, 2}});
}

TEST_CASE("structured mean field: the gradient of what is no number is none") {
  const auto x = potentials(1);
  const auto result = infer(knot(x), StructuredMeanField{.iterations = 5});
  sum(result.variables[0] * Var<double>(std::numeric_limits<double>::quiet_NaN())).backward();
  int none = 0;
  for (const double g : x[1].gradient()) none += std::isnan(g);
  CHECK(none > 0);
}

TEST_CASE("coordinate mean field: an implicit gradient where the ascent was cut short says so") {
  const auto x = potentials(.5);
  const auto result = infer(knot(x), MeanField{.iterations = 2, .tolerance = 0, .gradient = GradientMode::implicit});
  mixed(result).backward();
  CHECK_FALSE(result.adjoint->converged);
  CHECK_FALSE(result.adjoint->message.empty());
}

TEST_CASE("coordinate mean field: gradients from a start that was searched, where factors forbid states") {
  // Neighbours in a cycle of five must differ, in three colours.
  const std::vector<Var<double>> x = normal_variables({{5, 3}}, .3);
  const auto build = [](const auto& p) {
    FactorGraph<double> graph;
    const auto a = graph.add_variables("a", {5}, 3);
    graph.add_unary("unary", a, p[0]);
    Tensor<double> differ = Tensor<double>::from_shape({3, 3});
    differ.fill(0);
    for (std::size_t k = 0; k < 3; ++k) differ(k, k) = forbidden;
    graph.add_factors("differ", index_tensor({5, 2}, {0, 1, 1, 2, 2, 3, 3, 4, 4, 0}), Var<double>(std::move(differ)));
    return graph;
  };
  const auto run = [&](const auto& p) {
    return mixed(infer(build(p), StructuredMeanField{.iterations = 20, .tolerance = 0}));
  };
  CHECK(std::isfinite(infer(build(x), StructuredMeanField{}).log_partition.item()));
  CHECK_NOTHROW(check_gradients(run, x, {.forward_mode = false}));
}
