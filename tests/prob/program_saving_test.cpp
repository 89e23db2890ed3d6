#include <doctest/doctest.h>

#include <functional>
#include <string>

#include <tapestry/autodiff/derivatives.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/graph/program/description.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/graph/program/state.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/dense/dense_mean_field.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/grid.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/pairwise.hpp>
#include <tapestry/prob/register_operations.hpp>
#include <tapestry/prob/semi_markov.hpp>

#include "prob/normal_numbers.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;

struct Captured {
  std::string name;
  std::vector<Shape> inputs;
  std::function<V(const Vars&)> f;  // a number
};

V weighted(const V& x) {
  Tensor<double> weights = empty_tensor<double>(x.shape());
  for (std::size_t i = 0; i < weights.size(); ++i) weights.data()[i] = static_cast<double>(i * 5 % 7) / 3 - 1;
  return sum(x * V(std::move(weights)));
}

/// All that an inference gives.
V summary(const InferenceResult<double>& result) {
  V total = sum(result.log_partition);
  for (const auto& list : {result.variables, result.factors})
    for (const V& marginals : list) total = total + weighted(marginals);
  return total;
}

/// A loop of five variables, and one more, batched: unary and pairwise potentials.
FactorGraph<double> graph_of(const Vars& x, bool observed) {
  FactorGraph<double> graph;
  const auto group = graph.add_variables("v", {6}, 3);
  graph.add_unary("unary", group, x[0]);
  IndexTensor edges = empty_tensor<std::int64_t>({6, 2});
  const std::int64_t ends[] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 4, 5};
  std::copy(std::begin(ends), std::end(ends), edges.data());
  graph.add_factors("pairs", edges, x[1]);
  if (observed) graph.observe(5, 1);
  return graph;
}

std::vector<Captured> captured() {
  const std::vector<Shape> of_chain{{2, 4, 3}, {3, 3}, {3}, {3}};
  const auto chain = [](const Vars& x) {
    return ChainPotentials<double>{
        .unary = x[0], .transitions = x[1], .lengths = Indices{4, 3}, .start = x[2], .end = x[3]};
  };
  IndexTensor labels = empty_tensor<std::int64_t>({2, 4});
  for (std::int64_t i = 0; i < 8; ++i) labels.data()[i] = i * 2 % 3;
  const Indices known(labels);
  const std::vector<Shape> of_grid{{2, 3, 4, 2}, {2, 2}, {2, 2}}, of_graph{{2, 6, 3}, {6, 3, 3}};
  const PairwiseFactors factors(4, {0, 1, 2, 0}, {1, 2, 3, 3});
  const auto inference = [&](const std::string& name, auto options, bool observed) {
    return Captured{name, of_graph, [=](const Vars& x) { return summary(infer(graph_of(x, observed), options)); }};
  };
  const auto dense = [](const Vars& x) {
    const std::vector<GaussianFilter<double>> filters{
        GaussianFilter<double>(normal_numbers({7, 2}, 5), {.normalize = true}),
        GaussianFilter<double>(normal_numbers({7, 3}, 6), {.method = FilterMethod::lattice, .include_self = true})};
    return weighted(dense_mean_field(x[0], filters, x[1], x[2], {.iterations = 3}).marginals);
  };
  return {
      {"CRF on chains", of_chain,
       [=](const Vars& x) { return sum(chain_log_partition(chain(x)) - chain_score(chain(x), known)); }},
      {"chain entropy", of_chain, [=](const Vars& x) { return weighted(chain_entropy(chain(x))); }},
      {"chain marginals", of_chain, [=](const Vars& x) { return weighted(chain_marginals(chain(x)).unary); }},
      {"gradient of a CRF", of_chain,
       [=](const Vars& x) {
         const V loss = sum(square(chain_log_partition(chain(x)) - chain_score(chain(x), known)));
         V total = loss;
         for (const V& g : grad(loss, x, {.create_graph = true})) total = total + sum(square(g));
         return total;
       }},
      {"grid belief propagation", of_grid,
       [](const Vars& x) { return weighted(grid_belief_propagation(x[0], x[1], x[2], {.iterations = 4})); }},
      {"grid mean field",
       {of_grid[0], of_grid[1]},
       [](const Vars& x) { return weighted(grid_mean_field(x[0], x[1], {.iterations = 3, .damping = 0.2})); }},
      {"pairwise propagation",
       {{2, 4, 3}, {2, 3, 3}},
       [=](const Vars& x) {
         return weighted(pairwise_belief_propagation(factors, x[0], x[1], {.iterations = 3}, Indices{0, 1, 1, 0}));
       }},
      {"semi-Markov marginals",
       {{2, 4, 2, 3}, {3, 3}},
       [](const Vars& x) {
         return weighted(semi_markov_marginals(SemiMarkovPotentials<double>{x[0], x[1], Indices{3, 4}}).states);
       }},
      {"semi-Markov",
       {{2, 4, 2, 3}, {3, 3}},
       [](const Vars& x) {
         return weighted(semi_markov_log_partition(SemiMarkovPotentials<double>{x[0], x[1], Indices{3, 4}}));
       }},
      inference("infer: belief propagation", BeliefPropagation{.iterations = 6, .tolerance = 0}, false),
      inference("infer: checkpointed propagation until it converges",
                BeliefPropagation{.tolerance = 1e-6, .gradient = GradientMode::checkpointed}, true),
      inference("infer: weighted messages",
                BeliefPropagation{.iterations = 5, .tolerance = 0, .damping = 0.1, .weights = {1, 0.8}}, true),
      inference("infer: cooled messages", BeliefPropagation{.iterations = 5, .tolerance = 0, .temperature = 0.7},
                false),
      inference("infer: weighted messages, factor by factor",
                BeliefPropagation{.iterations = 5, .tolerance = 0, .damping = 0.1, .weights = {0.9, 0.8}}, true),
      inference("infer: through random messages, checkpointed",
                BeliefPropagation{.iterations = 5,
                                  .tolerance = 0,
                                  .schedule = Schedule::random,
                                  .gradient = GradientMode::checkpointed,
                                  .seed = 4},
                true),
      inference(
          "infer: sequential messages, implicit gradient",
          BeliefPropagation{.iterations = 200, .schedule = Schedule::sequential, .gradient = GradientMode::implicit},
          false),
      inference("infer: mean field, variable by variable", MeanField{}, true),
      inference("infer: structured mean field", StructuredMeanField{.gradient = GradientMode::implicit}, false),
      inference("infer: mean field of clusters", GeneralizedMeanField{.clusters = {0, 0, 1, 1, 2, 2}}, false),
      inference("infer: mean field whose marginals are constants", MeanField{.gradient = GradientMode::likelihood},
                false),
      inference("infer: junction tree", JunctionTree{}, true),
      {"curvature of a junction tree", of_graph,
       [](const Vars& x) {
         const V z = sum(square(infer(graph_of(x, false), JunctionTree{}).log_partition));
         V total = z;
         for (const V& g : grad(z, x, {.create_graph = true})) total = total + weighted(g);
         return total;
       }},
      {"gradient of a junction tree's marginals", of_graph,
       [](const Vars& x) {
         const V z = summary(infer(graph_of(x, true), JunctionTree{}));
         V total = z;
         for (const V& g : grad(z, x, {.create_graph = true})) total = total + weighted(g.detach());
         return total;
       }},
      {"dense mean field", {{7, 3}, {2}, {3, 3}}, dense},
      {"gradient of dense mean field",
       {{7, 3}, {2}, {3, 3}},
       [=](const Vars& x) {
         V total = dense(x);
         for (const V& g : grad(total, x, {.create_graph = true})) total = total + sum(square(g));
         return total;
       }},
      inference("infer: mean field", MeanField{.iterations = 7, .tolerance = 0, .update = MeanFieldUpdate::parallel},
                true),
  };
}

Vars inputs_of(const Captured& one, std::uint64_t seed) {
  Vars x;
  for (const Shape& shape : one.inputs) x.emplace_back(normal_numbers(shape, ++seed, 0.7), true);
  return x;
}

Program<double> loaded(std::string bytes) {
  auto state = std::make_unique<Program<double>::State>();
  state->build(detail::read_description(std::move(bytes), detail::DType::float64, 1 << 20));
  return Program<double>(std::move(state));
}

Program<double> program_of(const Captured& one) {
  return capture<double>([&](const Vars& x) { return Vars{one.f(x)}; }, inputs_of(one, 10));
}

}  // namespace

TEST_CASE("program: inference that is captured gives the tape's values and gradients, after saving too") {
  register_inference_operations();
  for (const Captured& one : captured()) {
    CAPTURE(one.name);
    Program<double> program = program_of(one);
    Program<double> other = loaded(detail::describe(program.state().source));
    const Vars x = inputs_of(one, 20);
    const V expected = one.f(x);
    expected.backward();
    program.run_backward(std::span(x));
    other.run_backward(std::span(x));
    CHECK(program.output()() == doctest::Approx(expected.item()).epsilon(1e-12));
    CHECK(other.output() == program.output());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Tensor<double> right = x[i].gradient();
      const auto got = program.gradient(i);
      for (std::size_t k = 0; k < right.size(); ++k)
        CHECK(got.data()[k] == doctest::Approx(right.data()[k]).epsilon(1e-9));
      CHECK(other.gradient(i) == got);
    }
  }
}

TEST_CASE("program file: damage in inference is refused, or gives a program that can run") {
  register_inference_operations();
  Generator random(7);
  int refused = 0, ran = 0;
  for (const Captured& one : captured()) {
    CAPTURE(one.name);
    const std::string good = detail::describe(program_of(one).state().source);
    for (int i = 0; i < 25; ++i) {
      std::string bad = good;
      bad[static_cast<std::size_t>(random.integer(static_cast<std::int64_t>(good.size())))] ^=
          static_cast<char>(1 << random.integer(8));
      try {
        Program<double> odd = loaded(bad);
        Vars x;
        for (std::size_t k = 0; k < odd.inputs(); ++k) x.push_back(V::zeros(odd.input_shape(k)));
        odd.run_backward(std::span<const V>(x));
        ++ran;
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 40);
  CHECK(ran > 40);
}
