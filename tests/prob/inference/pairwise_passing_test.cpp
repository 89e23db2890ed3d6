#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/inference/pairwise_passing.hpp>

#include "prob/normal_numbers.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

struct Form {
  std::int64_t states = 3;
  bool batched = false;
  bool evidence = false;
  bool one_group = false;
  double spread = .8;
  bool forbidden = false;
  bool weighted = false;
  double temperature = 1;
};

template <class T>
std::vector<Var<T>> potentials(const Form& form) {
  const std::int64_t K = form.states;
  std::vector<Var<T>> x;
  x.emplace_back(normal_numbers<T>({12, K}, 1, form.spread), true);
  x.emplace_back(normal_numbers<T>(form.batched ? Shape{2, 8, K, K} : Shape{8, K, K}, 2, form.spread), true);
  x.emplace_back(normal_numbers<T>({K, K}, 3, form.spread), true);
  x.emplace_back(normal_numbers<T>(form.batched ? Shape{2, 1, K} : Shape{K}, 4, form.spread), true);
  if (form.forbidden) {
    x[0].mutable_data()[1] = static_cast<T>(minus_infinity);
    x[1].mutable_data()[2] = static_cast<T>(minus_infinity);
    x[2].mutable_data()[1] = static_cast<T>(minus_infinity);
  }
  return x;
}

/// Two groups of variables in loops: a 2 x 4 grid in part, with a factor between its groups and one twice.
template <class T>
FactorGraph<T> graph_of(const Form& form, const std::vector<Var<T>>& x) {
  FactorGraph<T> graph;
  const auto a = graph.add_variables("a", {3, 3}, form.states);
  const auto b = graph.add_variables("b", {3}, form.states);
  IndexTensor all = empty_tensor<std::int64_t>({12, 1}), first = empty_tensor<std::int64_t>({3, 1});
  for (std::int64_t v = 0; v < 12; ++v) all.data()[v] = v;
  for (std::int64_t i = 0; i < 3; ++i) first.data()[i] = 5 * i;
  graph.add_factors("own", all, x[0]);
  const IndexTensor loops = {{0, 1}, {1, 4}, {4, 3}, {3, 0}, {4, 9}, {9, 10}, {10, 11}, {11, 9}};
  graph.add_factors("loops", loops, x[1]);
  if (!form.one_group) graph.add_factors("rows", grid_edges(graph.ids(a))[0], x[2]);
  graph.add_factors("some", first, x[3]);
  if (form.evidence) graph.observe({{5, form.states - 1}, {9, 0}});
  static_cast<void>(b);
  return graph;
}

/// The options with the form's temperature and counting numbers, another one for each group of pairs.
template <class T>
BeliefPropagation options_of(const Form& form, const FactorGraph<T>& graph, BeliefPropagation options) {
  options.temperature = form.temperature;
  for (std::size_t g = 0; form.weighted && g < graph.factor_groups().size(); ++g)
    options.weights.push_back(graph.factor_groups()[g].arity() == 1 ? 1 : .4 + .3 * static_cast<double>(g));
  return options;
}

struct Outcome {
  std::vector<double> values, gradients;
  std::int64_t iterations;
  bool converged;
};

template <class T>
Outcome run(const Form& form, const BeliefPropagation& options, bool by_factor) {
  const auto x = potentials<T>(form);
  const auto graph = graph_of(form, x);
  const auto chosen = options_of(form, graph, options);
  const auto r =
      by_factor ? detail::pass_messages(graph, chosen, detail::spread_weights(*graph.structure(), chosen.weights), true)
                : infer(graph, chosen);
  Outcome out{{}, {}, r.trace.iterations, r.converged};
  auto total = sum(r.log_partition) * T(.7);
  std::uint64_t seed = 90;
  const auto add = [&](const std::vector<Var<T>>& parts) {
    for (const auto& part : parts) {
      out.values.insert(out.values.end(), part.data(), part.data() + part.size());
      total = total + sum(part * part * Var<T>(normal_numbers<T>(part.shape(), ++seed)));
    }
  };
  add({r.log_partition});
  add(r.variables);
  add(r.factors);
  for (const auto state : *r.assignment) out.values.push_back(static_cast<double>(state));
  total.backward();
  for (const auto& p : x)
    if (p.has_gradient())
      out.gradients.insert(out.gradients.end(), p.gradient().data(), p.gradient().data() + p.size());
  return out;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;
    const double d = std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    most = d <= most ? most : std::isnan(d) ? 1e300 : d;
  }
  return most;
}

}  // namespace

TEST_CASE("pairwise passing: equal to messages one by one, values and gradients in every mode") {
  for (const Form& form :
       {Form{}, Form{.states = 2, .batched = true}, Form{.states = 4, .evidence = true},
        Form{.states = 4, .one_group = true}, Form{.states = 5, .batched = true, .evidence = true}, Form{.states = 1},
        Form{.spread = 60}, Form{.states = 4, .forbidden = true}, Form{.weighted = true},
        Form{.states = 4, .batched = true, .evidence = true, .weighted = true},
        Form{.states = 2, .forbidden = true, .weighted = true}, Form{.spread = 60, .weighted = true},
        Form{.batched = true, .temperature = .6}, Form{.forbidden = true, .weighted = true, .temperature = 1.7}}) {
    CAPTURE(form.states);
    CAPTURE(form.weighted);
    CAPTURE(form.temperature);
    CAPTURE(form.spread);
    for (const double damping : {0.0, 0.3}) {
      for (const auto mode : {GradientMode::unrolled, GradientMode::checkpointed, GradientMode::truncated,
                              GradientMode::likelihood, GradientMode::implicit}) {
        CAPTURE(static_cast<int>(mode));
        const bool fixed_point = mode == GradientMode::implicit;
        if (fixed_point && (form.spread > 1 || form.states == 1)) continue;
        const BeliefPropagation options{.iterations = fixed_point ? 3000 : 7,
                                        .tolerance = fixed_point ? 1e-14 : 0,
                                        .damping = damping,
                                        .gradient = mode,
                                        .truncation = 3};
        const auto fused = run<double>(form, options, false), scalar = run<double>(form, options, true);
        CHECK(distance(fused.values, scalar.values) < (form.spread > 1 ? 1e-9 : 1e-12));
        CHECK(distance(fused.gradients, scalar.gradients) < (form.spread > 1 ? 1e-8 : fixed_point ? 1e-9 : 1e-11));
        // At a tolerance near that of rounding, rounding decides upon the last iterations.
        CHECK(std::abs(fused.iterations - scalar.iterations) <= (fixed_point ? 3 : 0));
      }
    }
  }
}

TEST_CASE("pairwise passing: truncated gradients where messages have converged") {
  const BeliefPropagation options{
      .iterations = 500, .tolerance = 1e-9, .gradient = GradientMode::truncated, .truncation = 4};
  const Form form{.spread = .4};
  const auto fused = run<double>(form, options, false), scalar = run<double>(form, options, true);
  CHECK(fused.converged);
  CHECK(scalar.converged);
  CHECK(fused.iterations == scalar.iterations);
  CHECK(distance(fused.values, scalar.values) < 1e-12);
  CHECK(distance(fused.gradients, scalar.gradients) < 1e-11);
}

TEST_CASE("pairwise passing: gradients are those of the very computation") {
  for (const auto mode : {GradientMode::unrolled, GradientMode::checkpointed})
    for (const Form& form : {Form{.states = 4, .evidence = true}, Form{.batched = true}, Form{.spread = 20},
                             Form{.batched = true, .weighted = true}, Form{.evidence = true, .temperature = .7}})
      check_gradients(
          [&](const std::vector<Var<double>>& x) {
            const auto graph = graph_of(form, x);
            const auto r = infer(
                graph, options_of(form, graph, {.iterations = 5, .tolerance = 0, .damping = .2, .gradient = mode}));
            return sum(r.log_partition) + sum(r.variables[0] * r.variables[0]) + sum(r.factors[1] * r.factors[1]) +
                   sum(r.factors[0] * r.factors[0] * r.factors[0]);
          },
          potentials<double>(form), {.tolerance = form.spread > 1 ? 1e-5 : 1e-6, .forward_mode = false});
}

TEST_CASE("pairwise passing: the log-partition and its gradient need no marginals of factors") {
  for (const bool by_factor : {false, true}) {
    std::vector<double> found[2];
    for (const bool marginals : {false, true}) {
      const auto x = potentials<double>({});
      auto graph = graph_of({}, x);
      BeliefPropagation options{.iterations = 6, .tolerance = 0, .factor_marginals = marginals};
      if (by_factor) options.weights.assign(graph.factor_groups().size(), 1.0);
      const auto r = infer(graph, options);
      CHECK(r.factors.size() == (marginals ? graph.factor_groups().size() : 0));
      r.log_partition.backward();
      for (const auto& p : x) found[marginals].insert(found[marginals].end(), p.gradient().begin(), p.gradient().end());
    }
    CHECK(distance(found[0], found[1]) == 0);
  }
}

TEST_CASE("pairwise passing: float agrees with double and converges") {
  for (const Form& form : {Form{.spread = .4}, Form{.states = 4, .spread = .4}, Form{.states = 4, .spread = 8}}) {
    const BeliefPropagation options{.iterations = 8, .tolerance = 0, .damping = .1};
    const auto single = run<float>(form, options, false), exact = run<double>(form, options, false);
    CHECK(distance(single.values, exact.values) < (form.spread > 1 ? 1e-3 : 1e-5));
    CHECK(distance(single.gradients, exact.gradients) < (form.spread > 1 ? 1e-2 : 2e-5));
  }
  CHECK(run<float>({.spread = .4}, BeliefPropagation{}, false).converged);
}

TEST_CASE("pairwise passing: exact on a tree, -inf and contradictions included") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {6}, 4);
  auto tables = normal_numbers<double>({5, 4, 4}, 8);
  tables(2, 1, 1) = tables(2, 1, 2) = tables(4, 0, 3) = minus_infinity;
  const Var<double> x(tables, true);
  graph.add_factors("tree", tree_edges(graph.ids(a), {-1, 0, 0, 1, 1, 2}), x);
  graph.observe(4, 1);
  const auto expected = infer(graph, JunctionTree{});
  const auto result = infer(graph, BeliefPropagation{});
  CHECK(result.converged);
  CHECK(result.log_partition.item() == doctest::Approx(expected.log_partition.item()).epsilon(1e-12));
  for (std::int64_t i = 0; i < result.factors[0].size(); ++i)
    CHECK(std::abs(result.factors[0].data()[i] - expected.factors[0].data()[i]) < 1e-12);
  result.log_partition.backward();
  for (std::int64_t i = 0; i < x.size(); ++i)
    CHECK(std::abs(x.gradient().data()[i] - expected.factors[0].data()[i]) < 1e-9);
  // Variable 1 has no state that both its neighbours allow.
  auto impossible = normal_numbers<double>({5, 4, 4}, 9);
  for (std::size_t k = 0; k < 4; ++k) impossible(2, k, 1) = minus_infinity;
  graph.set_potentials(0, Var<double>(impossible, true));
  graph.observe(3, 1);
  const auto none = infer(graph, BeliefPropagation{});
  CHECK_FALSE(none.possible);
  CHECK(none.log_partition.item() == minus_infinity);
  for (std::int64_t i = 0; i < none.variables[0].size(); ++i) CHECK_FALSE(std::isnan(none.variables[0].data()[i]));
  none.log_partition.backward();
  graph.set_potentials(0, Var<double>(normal_numbers<double>({4, 4}, 1) / 0.0));
  CHECK_THROWS_AS(infer(graph, BeliefPropagation{}), NumericalError);
}

TEST_CASE("pairwise passing: gradients of potentials by edge add to what is there") {
  const Form form{.one_group = true};
  const auto x = potentials<double>(form);
  const auto value = [&] { return infer(graph_of(form, x), BeliefPropagation{.iterations = 4}).log_partition; };
  const auto alone = grad(value(), {x[1]})[0];
  const Var<double> first = value();
  // The square's gradient is there before, because it was recorded last.
  const Var<double> last = sum(square(x[1]));
  const auto both = grad(first + last, {x[1]})[0];
  for (std::int64_t i = 0; i < x[1].size(); ++i)
    CHECK(both.data()[i] == doctest::Approx(alone.data()[i] + 2 * x[1].data()[i]).epsilon(1e-12));
}

TEST_CASE("pairwise passing: an assignment's score is that of the potentials as they were given, at any temperature") {
  const Form form{.batched = true, .temperature = .5};
  const auto x = potentials<double>(form);
  const auto graph = graph_of(form, x);
  const auto r = infer(graph, options_of(form, graph, {.iterations = 4}));
  REQUIRE(r.assignment.has_value());
  const auto expected = graph.score(*r.assignment);
  CHECK(r.assignment_score.shape() == expected.shape());
  for (std::int64_t b = 0; b < expected.size(); ++b)
    CHECK(r.assignment_score.data()[b] == doctest::Approx(expected.data()[b]).epsilon(1e-12));
}

TEST_CASE("pairwise passing: the wiring of a structure is made once, and anew when factors are added") {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {5}, 3);
  graph.add_factors("edges", chain_edges(graph.ids(a)), Var<double>(normal_numbers({4, 3, 3}, 1)));
  const auto wiring = [&] { return detail::PairwisePlan::of(graph.structure())->wiring(); };
  // Exact on a tree.
  const auto check = [&] {
    const auto r = infer(graph, BeliefPropagation{.iterations = 10}), exact = infer(graph, JunctionTree{});
    CHECK(r.log_partition.item() == doctest::Approx(exact.log_partition.item()).epsilon(1e-12));
  };
  check();
  const auto first = wiring();
  check();
  CHECK(wiring() == first);
  const auto b = graph.add_variables("b", {1}, 3);
  graph.add_factors("more", IndexTensor{{2, graph.ids(b).data()[0]}}, Var<double>(normal_numbers({1, 3, 3}, 2)));
  check();
  CHECK(wiring() != first);
  CHECK(wiring()->factors() == 5);
}
