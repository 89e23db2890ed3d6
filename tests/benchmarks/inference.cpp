// What inference costs, and how it scales: time per message, step or factor should stay flat.

#include <benchmark/benchmark.h>

#include <random>

#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/grid.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/mean_field.hpp>

using namespace tapestry;

namespace {

template <class T>
Var<T> numbers(const Shape& shape, bool requires_grad = false) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, .7F);
  Tensor<T> out = empty_tensor<T>(shape);
  for (T& x : out) x = static_cast<T>(normal(random));
  return Var<T>(std::move(out), requires_grad);
}

/// A grid with a potential for each edge, or one for each direction.
template <class T>
FactorGraph<T> grid(std::int64_t side, std::int64_t states, bool per_edge, bool requires_grad = false) {
  FactorGraph<T> graph;
  const auto pixels = graph.add_variables("pixels", {side, side}, states);
  graph.add_unary("unary", pixels, numbers<T>({side, side, states}, requires_grad));
  for (auto& edges : grid_edges(graph.ids(pixels)))
    graph.add_factors("edges", edges,
                      numbers<T>(per_edge ? Shape{static_cast<std::int64_t>(edges.shape()[0]), states, states}
                                          : Shape{states, states},
                                 requires_grad));
  return graph;
}

void per_item(benchmark::State& state, std::int64_t items) {
  state.SetItemsProcessed(state.iterations() * items);
  state.counters["ns per item"] = benchmark::Counter(static_cast<double>(state.iterations() * items) * 1e-9,
                                                     benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

const BeliefPropagation ten{.iterations = 10, .tolerance = 0};

/// Ten flooding iterations on a 64 x 64 grid of 4 states, potentials by edge (libDAI: 50 ms).
template <class T>
void flooding_64_k4(benchmark::State& state) {
  set_threads(static_cast<int>(state.range(0)));
  const NoGradients none;
  const auto graph = grid<T>(64, 4, true);
  for (auto _ : state) benchmark::DoNotOptimize(infer(graph, ten).log_partition.item());
}
template <class T>
void flooding_gradient_64_k4(benchmark::State& state) {
  set_threads(static_cast<int>(state.range(0)));
  const auto graph = grid<T>(64, 4, true, true);
  for (auto _ : state) infer(graph, ten).log_partition.backward({.retain_graph = true});
}
/// The grid kernels, forward and backward, and the general pairwise path at the same problem.
void grid_path(benchmark::State& state) {
  set_threads(1);
  const auto unary = numbers<float>({64, 64, 4}, true), pair = numbers<float>({4, 4}, true);
  for (auto _ : state) sum(grid_belief_propagation(unary, pair, pair, {10, 0})).backward();
}
void pairwise_path(benchmark::State& state) {
  set_threads(1);
  const auto graph = grid<float>(64, 4, true, true);
  for (auto _ : state) sum(infer(graph, ten).variables[0]).backward({.retain_graph = true});
}

void flooding_scaling(benchmark::State& state) {
  set_threads(1);
  const NoGradients none;
  const auto graph = grid<float>(state.range(0), 4, false);
  const BeliefPropagation options{.iterations = 10, .tolerance = 0, .factor_marginals = false};
  for (auto _ : state) benchmark::DoNotOptimize(infer(graph, options).log_partition.item());
  per_item(state, 10 * 4 * state.range(0) * (state.range(0) - 1));
}
void mean_field_scaling(benchmark::State& state) {
  set_threads(1);
  const NoGradients none;
  const auto graph = grid<float>(state.range(0), 4, false);
  const MeanField options{.iterations = 10, .tolerance = 0, .update = MeanFieldUpdate::parallel};
  for (auto _ : state) benchmark::DoNotOptimize(infer(graph, options).log_partition.item());
  per_item(state, 10 * state.range(0) * state.range(0));
}
void factor_group_scaling(benchmark::State& state) {
  set_threads(1);
  const NoGradients none;
  FactorGraph<float> graph;
  const std::int64_t factors = state.range(0), count = factors / 2;
  const auto variables = graph.add_variables("variables", {count}, 2);
  IndexTensor scopes = empty_tensor<std::int64_t>({factors, 3});
  std::mt19937 random(1);
  for (std::int64_t f = 0; f < factors; ++f)
    for (std::int64_t i = 0; i < 3; ++i)
      scopes.data()[3 * f + i] = (f / 2 + i * (1 + static_cast<std::int64_t>(random() % 7))) % count;
  for (std::int64_t f = 0; f < factors; ++f)
    if (scopes.data()[3 * f + 1] == scopes.data()[3 * f + 2])
      scopes.data()[3 * f + 2] = (scopes.data()[3 * f + 1] + 1) % count;
  graph.add_unary("unary", variables, numbers<float>({count, 2}));
  graph.add_factors("triples", scopes, numbers<float>({2, 2, 2}));
  for (auto _ : state)
    benchmark::DoNotOptimize(infer(graph, BeliefPropagation{.iterations = 2, .tolerance = 0}).log_partition.item());
  per_item(state, 2 * 3 * factors);
}
void chain_scaling(benchmark::State& state) {
  set_threads(1);
  const std::int64_t steps = state.range(0);
  const auto unary = numbers<float>({1, steps, 8}, true), transitions = numbers<float>({8, 8}, true);
  for (auto _ : state) sum(chain_log_partition<float>({unary, transitions})).backward();
  per_item(state, steps);
}
void build_grid(benchmark::State& state) {
  const std::int64_t side = state.range(0);
  const auto unary = Var<float>::zeros({2}), pair = Var<float>::zeros({2, 2});
  for (auto _ : state) {
    FactorGraph<float> graph;
    const auto pixels = graph.add_variables("pixels", {side, side}, 2);
    graph.add_unary("unary", pixels, unary);
    for (auto& edges : grid_edges(graph.ids(pixels))) graph.add_factors("edges", edges, pair);
    benchmark::DoNotOptimize(graph.variables());
  }
  per_item(state, side * side);
}

}  // namespace

#define TAPESTRY_MILLISECONDS Unit(benchmark::kMillisecond)->UseRealTime()
BENCHMARK_TEMPLATE(flooding_64_k4, float)->Arg(1)->Arg(2)->TAPESTRY_MILLISECONDS;
BENCHMARK_TEMPLATE(flooding_64_k4, double)->Arg(1)->Arg(2)->TAPESTRY_MILLISECONDS;
BENCHMARK_TEMPLATE(flooding_gradient_64_k4, float)->Arg(1)->Arg(2)->TAPESTRY_MILLISECONDS;
BENCHMARK(grid_path)->TAPESTRY_MILLISECONDS;
BENCHMARK(pairwise_path)->TAPESTRY_MILLISECONDS;
BENCHMARK(flooding_scaling)->Arg(32)->Arg(100)->Arg(320)->Arg(1000)->TAPESTRY_MILLISECONDS;
BENCHMARK(mean_field_scaling)->Arg(32)->Arg(100)->Arg(320)->Arg(1000)->TAPESTRY_MILLISECONDS;
BENCHMARK(factor_group_scaling)->Arg(1000)->Arg(10000)->Arg(100000)->Arg(1000000)->TAPESTRY_MILLISECONDS;
BENCHMARK(chain_scaling)->Arg(1000)->Arg(10000)->Arg(100000)->Arg(1000000)->TAPESTRY_MILLISECONDS;
BENCHMARK(build_grid)->Arg(100)->Arg(320)->Arg(1000)->TAPESTRY_MILLISECONDS;
#undef TAPESTRY_MILLISECONDS

BENCHMARK_MAIN();
