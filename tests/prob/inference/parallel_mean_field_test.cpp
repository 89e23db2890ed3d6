#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/parallel_mean_field.hpp>

#include "prob/normal_numbers.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

struct Form {
  std::int64_t states = 3;
  bool batched = false;
  bool evidence = false;
  double spread = .5;
};

template <class T>
std::vector<Var<T>> potentials(const Form& form) {
  const std::int64_t K = form.states;
  std::vector<Var<T>> x;
  x.emplace_back(normal_numbers<T>({3, 3, K}, 1, form.spread), true);
  x.emplace_back(normal_numbers<T>(form.batched ? Shape{2, 6, K, K} : Shape{6, K, K}, 2, form.spread), true);
  x.emplace_back(normal_numbers<T>({K, K}, 3, form.spread), true);
  return x;
}

template <class T>
FactorGraph<T> grid(const Form& form, const std::vector<Var<T>>& x) {
  FactorGraph<T> graph;
  const auto a = graph.add_variables("a", {3, 3}, form.states);
  graph.add_unary("unary", a, x[0]);
  const auto edges = grid_edges(graph.ids(a));
  graph.add_factors("rows", edges[0], x[1]);
  graph.add_factors("columns", edges[1], x[2]);
  if (form.evidence) graph.observe({{5, form.states - 1}, {8, 0}});
  return graph;
}

template <class T>
Var<T> mixed(const InferenceResult<T>& r) {
  auto total = sum(r.log_partition) * T(.7);
  std::uint64_t seed = 90;
  for (const auto* parts : {&r.variables, &r.factors})
    for (const auto& part : *parts)
      total = total + sum(part * part * Var<T>(normal_numbers<T>(part.shape(), ++seed, 1)));
  return total;
}

struct Outcome {
  std::vector<double> values, gradients;
  std::int64_t iterations;
};

template <class T>
Outcome run(const Form& form, const MeanField& options, bool composed) {
  const auto x = potentials<T>(form);
  const auto r = detail::parallel_mean_field(grid(form, x), options, composed);
  Outcome out{{}, {}, r.trace.iterations};
  for (std::int64_t b = 0; b < r.log_partition.size(); ++b) out.values.push_back(r.log_partition.data()[b]);
  for (const auto* parts : {&r.variables, &r.factors})
    for (const auto& part : *parts) out.values.insert(out.values.end(), part.data(), part.data() + part.size());
  mixed(r).backward();
  for (const auto& p : x) out.gradients.insert(out.gradients.end(), p.gradient().begin(), p.gradient().end());
  return out;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    most = d <= most ? most : std::isnan(d) ? 1e300 : d;
  }
  return most;
}

}  // namespace

TEST_CASE("parallel mean field: kernels equal the composed iterations, values and gradients in every mode") {
  for (const Form& form : {Form{}, Form{.states = 2, .batched = true}, Form{.states = 4, .evidence = true},
                           Form{.states = 5, .batched = true, .evidence = true}})
    for (const double damping : {0.0, 0.3})
      for (const auto mode : {GradientMode::unrolled, GradientMode::checkpointed, GradientMode::truncated,
                              GradientMode::likelihood, GradientMode::implicit}) {
        CAPTURE(static_cast<int>(mode));
        CAPTURE(form.states);
        const bool fixed_point = mode == GradientMode::implicit;
        const MeanField options{.iterations = fixed_point ? 500 : 7,
                                .tolerance = fixed_point ? 1e-13 : 0,
                                .update = MeanFieldUpdate::parallel,
                                .damping = damping,
                                .gradient = mode,
                                .truncation = 3};
        const auto fused = run<double>(form, options, false), composed = run<double>(form, options, true);
        CHECK(distance(fused.values, composed.values) < 1e-12);
        CHECK(distance(fused.gradients, composed.gradients) < (fixed_point ? 1e-9 : 1e-12));
        if (!form.batched) CHECK(fused.iterations == composed.iterations);  // the trace is the first element's
      }
}

TEST_CASE("parallel mean field: gradients are those of the very computation, to second order where composed") {
  for (const auto mode : {GradientMode::unrolled, GradientMode::checkpointed})
    for (const bool composed : {false, true})
      check_gradients(
          [&](const std::vector<Var<double>>& x) {
            return mixed(detail::parallel_mean_field(
                grid<double>({.batched = true, .evidence = true}, x),
                MeanField{.iterations = 4, .tolerance = 0, .damping = .2, .gradient = mode}, composed));
          },
          potentials<double>({.batched = true}), {.order = composed ? 2 : 1, .forward_mode = false});
  check_gradients(
      [&](const std::vector<Var<double>>& x) {
        return mixed(detail::parallel_mean_field(
            grid<double>({}, x), MeanField{.iterations = 500, .tolerance = 1e-14, .gradient = GradientMode::implicit}));
      },
      potentials<double>({}), {.forward_mode = false});
}

TEST_CASE("parallel mean field: a lower bound, the one of coordinate ascent where both converge") {
  for (const Form& form : {Form{.batched = true}, Form{.evidence = true}}) {
    const auto x = potentials<double>(form);
    auto graph = grid(form, x);
    IndexTensor triple = empty_tensor<std::int64_t>({1, 3});
    for (int i = 0; i < 3; ++i) triple.data()[i] = 3 * i + (i == 1);
    for (const bool third : {false, true}) {
      if (third) graph.add_factors("triple", triple, Var<double>(normal_numbers<double>({3, 3, 3}, 7, .5)));
      const auto exact = infer(graph, JunctionTree{});
      const auto ascent = infer(graph, MeanField{.tolerance = 1e-13});
      const auto parallel =
          infer(graph, MeanField{.tolerance = 1e-13, .update = MeanFieldUpdate::parallel, .damping = .2});
      CHECK(parallel.converged);
      CHECK(parallel.kind == BoundKind::lower_bound);
      for (std::int64_t b = 0; b < exact.log_partition.size(); ++b) {
        CHECK(parallel.log_partition.data()[b] == doctest::Approx(ascent.log_partition.data()[b]).epsilon(1e-10));
        CHECK(parallel.log_partition.data()[b] < exact.log_partition.data()[b]);
      }
      for (std::int64_t i = 0; i < ascent.factors[1].size(); ++i)
        CHECK(std::abs(parallel.factors[1].data()[i] - ascent.factors[1].data()[i]) < 1e-9);
    }
  }
}

TEST_CASE("parallel mean field: the bound after each iteration is that of so many iterations") {
  for (const bool composed : {false, true})
    for (const GradientMode mode : {GradientMode::unrolled, GradientMode::checkpointed, GradientMode::truncated}) {
      CAPTURE(composed);
      const Form form{.batched = true};
      const auto x = potentials<double>(form);
      MeanField options{.iterations = 5,
                        .tolerance = 0,
                        .update = MeanFieldUpdate::parallel,
                        .damping = .2,
                        .gradient = mode,
                        .truncation = 2};
      const auto all = detail::parallel_mean_field(grid(form, x), options, composed);
      REQUIRE(all.trace.bound.size() == 5);
      for (std::int64_t n = 1; n <= 5; ++n) {
        options.iterations = n;
        const auto some = detail::parallel_mean_field(grid(form, x), options, composed);
        CHECK(all.trace.bound[static_cast<std::size_t>(n - 1)] ==
              doctest::Approx(some.log_partition.data()[0]).epsilon(1e-12));
      }
      options.trace_bounds = false;
      CHECK(detail::parallel_mean_field(grid(form, x), options, composed).trace.bound.empty());
    }
}

TEST_CASE("parallel mean field: float, and what it is not given") {
  const MeanField options{.iterations = 6, .tolerance = 0, .update = MeanFieldUpdate::parallel, .damping = .1};
  for (const std::int64_t states : {3, 4}) {
    const auto single = run<float>({.states = states}, options, false),
               exact = run<double>({.states = states}, options, false);
    CHECK(distance(single.values, exact.values) < 1e-5);
    CHECK(distance(single.gradients, exact.gradients) < 1e-5);
  }
  auto x = potentials<double>({});
  x[2].mutable_data()[1] = -std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(infer(grid({}, x), options), NumericalError);
  x = potentials<double>({});
  CHECK_THROWS_AS(infer(grid({}, x), MeanField{.update = MeanFieldUpdate::parallel, .damping = 1}), NumericalError);
  x[0].mutable_data()[1] = -std::numeric_limits<double>::infinity();
  const auto r = infer(grid({}, x), options);
  CHECK(r.variables[0].data()[1] == 0);
  r.log_partition.backward();
  for (const double g : x[2].gradient()) CHECK(std::isfinite(g));
  auto structured = grid({.states = 2}, potentials<double>({.states = 2}));
  structured.add_structured("parity", FactorKind::parity, grid_edges(structured.ids(0))[0], Var<double>::zeros({2}));
  CHECK_THROWS_AS(infer(structured, options), GraphError);
}
