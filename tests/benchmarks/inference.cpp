// What inference costs, and how it scales: time per message, step or factor should stay flat.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <ctime>
#include <random>
#include <vector>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/graph/unroll.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/grid.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/pairwise.hpp>

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
  state.counters["time per item"] = benchmark::Counter(static_cast<double>(state.iterations() * items),
                                                       benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

/// Times f. A first call, not timed, takes the memory from the system that the others find in the pool.
template <class F>
void warm(benchmark::State& state, F f) {
  f();
  for (auto _ : state) f();
}

/// Processor time of one call of f, the least of many: other programs do not count.
template <class F>
double seconds_of(F f, int calls) {
  double least = 1e300;
  for (int i = 0; i < calls; ++i) {
    const auto start = std::clock();
    f();
    least = std::min(least, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return least;
}

/// Bytes a second at which an array is read and written, in place.
double bandwidth(double bytes) {
  std::vector<float> array(static_cast<std::size_t>(bytes / sizeof(float)), 1.0F);
  const auto& kernels = detail::kernels<detail::ElementwiseKernels<float>>();
  const int passes = std::max(1, static_cast<int>(1e8 / bytes));
  const double seconds = seconds_of(
      [&] {
        for (int i = 0; i < passes; ++i) kernels.scale(1.0F, array.data(), array.data(), array.size());
      },
      5);
  return 2 * bytes * passes / seconds;
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
/// Ten iterations and their gradient by the general path, with potentials by edge, against the grid kernels with one
/// potential for each direction: how many times as long it takes. Least processor times of both, in turn.
template <class F>
void against_the_grid_path(benchmark::State& state, F general) {
  set_threads(1);
  const auto unary = numbers<float>({64, 64, 4}, true), pair = numbers<float>({4, 4}, true);
  double grid_path = 1e300, general_path = 1e300;
  for (auto _ : state) {
    grid_path = std::min(grid_path, seconds_of(
                                        [&] {
                                          sum(grid_belief_propagation(unary, pair, pair, {10, 0})).backward();
                                        },
                                        3));
    general_path = std::min(general_path, seconds_of(general, 3));
  }
  state.counters["grid path"] = grid_path;
  state.counters["general path"] = general_path;
  state.counters["ratio"] = general_path / grid_path;
}
/// The operation on pairwise factors, which gives what the grid kernels do: the variables' marginals.
void pairwise_operation_ratio(benchmark::State& state) {
  const auto ids = grid<float>(64, 4, true);
  std::vector<std::int64_t> first, second;
  for (std::size_t g = 1; g < ids.factor_groups().size(); ++g)
    for (std::int64_t f = 0; f < ids.factor_groups()[g].factors(); ++f) {
      first.push_back(ids.factor_groups()[g].scopes[2 * f]);
      second.push_back(ids.factor_groups()[g].scopes[2 * f + 1]);
    }
  const auto edges = static_cast<std::int64_t>(first.size());
  const auto indices = [edges](const std::vector<std::int64_t>& from) {
    IndexTensor to = empty_tensor<std::int64_t>({edges});
    std::copy(from.begin(), from.end(), to.data());
    return Indices(std::move(to));
  };
  const PairwiseFactors factors(64 * 64, indices(first), indices(second));
  const auto unary = numbers<float>({64 * 64, 4}, true), pairs = numbers<float>({edges, 4, 4}, true);
  against_the_grid_path(state, [&] { sum(pairwise_belief_propagation(factors, unary, pairs, {10, 0})).backward(); });
}
/// infer(): the log-partition, residuals and the best states beside.
void pairwise_infer_ratio(benchmark::State& state) {
  const auto graph = grid<float>(64, 4, true, true);
  const BeliefPropagation options{.iterations = 10, .tolerance = 0, .factor_marginals = false};
  against_the_grid_path(state, [&] { sum(infer(graph, options).variables[0]).backward({.retain_graph = true}); });
}

/// Time per message, beside that which memory takes: what an iteration must read and write per message (the message
/// in place, an index, its part of the unary potentials) at the speed at which an array of that size is changed in
/// place.
void flooding_scaling(benchmark::State& state) {
  set_threads(1);
  const NoGradients none;
  const std::int64_t side = state.range(0), states = 4, messages = 4 * side * (side - 1);
  const auto graph = grid<float>(side, states, false);
  const BeliefPropagation options{.iterations = 10, .tolerance = 0, .factor_marginals = false};
  warm(state, [&] { benchmark::DoNotOptimize(infer(graph, options).log_partition.item()); });
  per_item(state, 10 * messages);
  const double bytes = 2 * sizeof(float) * states + sizeof(std::int64_t) + sizeof(float) * states / 4.0;
  state.counters["bytes"] = bytes;
  state.counters["memory"] = bytes / bandwidth(4.0 * static_cast<double>(states * messages));
}
void mean_field_scaling(benchmark::State& state) {
  set_threads(1);
  const NoGradients none;
  const auto graph = grid<float>(state.range(0), 4, false);
  const MeanField options{.iterations = 10, .tolerance = 0, .update = MeanFieldUpdate::parallel, .trace_bounds = false};
  warm(state, [&] { benchmark::DoNotOptimize(infer(graph, options).log_partition.item()); });
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
  const BeliefPropagation options{.iterations = 2, .tolerance = 0};
  warm(state, [&] { benchmark::DoNotOptimize(infer(graph, options).log_partition.item()); });
  per_item(state, 2 * 3 * factors);
}
/// What is in use at most while f runs, beyond what was before.
template <class F>
double peak_bytes(F f) {
  reset_peak_memory();
  const auto before = memory_statistics().in_use;
  f();
  return static_cast<double>(memory_statistics().peak - before);
}
void chain_scaling(benchmark::State& state) {
  set_threads(1);
  const std::int64_t steps = state.range(0);
  const auto unary = numbers<float>({1, steps, 8}, true), transitions = numbers<float>({8, 8}, true);
  double peak = 0;
  warm(state, [&] { peak = peak_bytes([&] { sum(chain_log_partition<float>({unary, transitions})).backward(); }); });
  per_item(state, steps);
  state.counters["peak bytes"] = peak;
}
/// The same recursion step by step on the tape, checkpointed: memory for the square root of the steps.
void chain_checkpointed_scaling(benchmark::State& state) {
  set_threads(1);
  const std::int64_t steps = state.range(0);
  const auto unary = numbers<float>({steps, 8}), transitions = numbers<float>({8, 8}, true);
  const auto step = [transitions](const Var<float>& a, const Var<float>& x) {
    return logsumexp(reshape(a, {8, 1}) + transitions, {0}) + x;
  };
  double peak = 0;
  for (auto _ : state)
    peak = peak_bytes([&] {
      const auto end = scan(step, Var<float>::zeros({8}), unary, {.gradient = LoopGradient::checkpointed}).state;
      logsumexp(end).backward();
    });
  per_item(state, steps);
  state.counters["peak bytes"] = peak;
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
BENCHMARK(pairwise_operation_ratio)->TAPESTRY_MILLISECONDS;
BENCHMARK(pairwise_infer_ratio)->TAPESTRY_MILLISECONDS;
BENCHMARK(flooding_scaling)->Arg(32)->Arg(100)->Arg(320)->Arg(1000)->TAPESTRY_MILLISECONDS;
BENCHMARK(mean_field_scaling)->Arg(32)->Arg(100)->Arg(320)->Arg(1000)->TAPESTRY_MILLISECONDS;
BENCHMARK(factor_group_scaling)->Arg(1000)->Arg(10000)->Arg(100000)->Arg(1000000)->TAPESTRY_MILLISECONDS;
BENCHMARK(chain_scaling)->Arg(1000)->Arg(10000)->Arg(100000)->Arg(1000000)->TAPESTRY_MILLISECONDS;
BENCHMARK(chain_checkpointed_scaling)->Arg(1000)->Arg(10000)->Arg(100000)->Arg(1000000)->TAPESTRY_MILLISECONDS;
BENCHMARK(build_grid)->Arg(100)->Arg(320)->Arg(1000)->TAPESTRY_MILLISECONDS;
#undef TAPESTRY_MILLISECONDS

BENCHMARK_MAIN();
