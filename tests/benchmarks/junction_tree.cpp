// The junction tree on grids of binary variables, and on the instances of $TAPESTRY_DATA/uai, against memory bandwidth.
// A calibration's table operations are those of Hugin propagation: each clique's table is changed in place and read on
// the way up (its factors and messages multiplied in, the message summed out) and again on the way down, and so is each
// separator's table. `memory_ratio` is the time over what these take at the bandwidth of main memory (an array of
// 256 MB), `joint_ratio` at that of an array as large as all clique tables together, and `ratio` where each table has
// that of arrays of its own size: one that fits into a cache has the cache's. One thread, processor time. Instances of
// width 18 to 22 are labelled "width 20". `training_step` is inference with its gradient in square grids of binary
// variables, the plan kept with the graph's structure (1) or made anew (0).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/clique_tree.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/io/uai.hpp>

using namespace tapestry;

namespace {

/// Processor time: other programs do not count.
double seconds_since(std::clock_t start) {
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

/// Seconds that two changes in place and two readings of an array take, the least of some tries.
double passes(std::size_t entries) {
  static std::map<std::size_t, double> known;
  double& seconds = known[entries];
  if (seconds > 0) return seconds;
  std::vector<double> table(entries, 1.0);
  const auto& kernels = detail::kernels<detail::ElementwiseKernels<double>>();
  const std::size_t times = std::max<std::size_t>(1, (std::size_t{1} << 21) / entries);
  double reading = 1e300, changing = 1e300;
  for (int i = 0; i < 7; ++i) {
    auto start = std::clock();
    for (std::size_t n = 0; n < times; ++n) benchmark::DoNotOptimize(kernels.sum(table.data(), entries));
    reading = std::min(reading, seconds_since(start));
    start = std::clock();
    for (std::size_t n = 0; n < times; ++n) kernels.scale(1, table.data(), table.data(), entries);
    changing = std::min(changing, seconds_since(start));
  }
  seconds = (2 * changing + 2 * reading) / static_cast<double>(times);
  return seconds;
}

/// The same for tables of given sizes, by the bandwidth of arrays of the next power of two.
double table_operations(const CliqueTree& tree) {
  double seconds = 0;
  for (const auto& [clique, separator] : tree.clique_entries())
    for (const double entries : {clique, separator}) {
      const std::size_t size = std::bit_ceil(static_cast<std::size_t>(entries));
      seconds += passes(size) * entries / static_cast<double>(size);
    }
  return seconds;
}

void measure(benchmark::State& state, const CliqueTree& tree, const std::vector<const double*>& tables,
             const std::vector<std::int64_t>& states) {
  set_threads(1);
  double separators = 0;
  for (const auto& entries : tree.clique_entries()) separators += entries.second;
  const double bound = table_operations(tree);
  const auto at_bandwidth_of = [&](std::size_t entries) {
    return passes(entries) * (tree.entries() + separators) / static_cast<double>(entries);
  };
  const double joint_bound = at_bandwidth_of(static_cast<std::size_t>(tree.entries()));
  const double memory_bound = at_bandwidth_of(std::size_t{1} << 25);
  benchmark::DoNotOptimize(tree.sums(tables, TableScale::linear, states, true, false).log_partition);
  double seconds = 1e300;
  for (auto _ : state) {
    const auto start = std::clock();
    benchmark::DoNotOptimize(tree.sums(tables, TableScale::linear, states, true, false).log_partition);
    seconds = std::min(seconds, seconds_since(start));
  }
  state.counters["width"] = static_cast<double>(tree.width());
  state.counters["table_MB"] = 8e-6 * tree.entries();
  state.counters["ratio"] = seconds / bound;
  state.counters["joint_ratio"] = seconds / joint_bound;
  state.counters["memory_ratio"] = seconds / memory_bound;
  if (tree.width() >= 18 && tree.width() <= 22) state.SetLabel("width 20");
}

void marginals(benchmark::State& state) {
  const std::int64_t width = state.range(0), length = 2 * width;
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  std::vector<std::vector<std::int64_t>> scopes;
  for (std::int64_t i = 0; i < length; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      if (j + 1 < width) scopes.push_back({i * width + j, i * width + j + 1});
      if (i + 1 < length) scopes.push_back({i * width + j, i * width + j + width});
    }
  std::vector<double> values(scopes.size() * 4);
  for (double& x : values) x = std::exp(normal(random));
  std::vector<const double*> tables;
  for (std::size_t f = 0; f < scopes.size(); ++f) tables.push_back(values.data() + 4 * f);
  const CliqueTree tree(std::vector<std::int64_t>(static_cast<std::size_t>(width * length), 2), scopes);
  measure(state, tree, tables, {});
}

void instance(benchmark::State& state, const std::string& path) {
  const DiscreteModel model = read_uai(path);
  std::vector<std::int64_t> observed, states;
  Evidence evidence;
  if (std::filesystem::exists(path + ".evid"))
    evidence = read_uai_evidence(path + ".evid", model.cardinalities).front();
  for (const Observation& o : evidence) {
    observed.push_back(o.variable);
    states.push_back(o.state);
  }
  std::vector<const double*> tables;
  for (const auto& table : model.tables) tables.push_back(table.data());
  try {
    const CliqueTree tree(model.cardinalities, model.scopes, observed, {.memory_limit = 1e9});
    measure(state, tree, tables, states);
  } catch (const NumericalError& error) {
    state.SkipWithError(error.what());
  }
}

}  // namespace

void training_step(benchmark::State& state) {
  set_threads(1);
  const std::int64_t side = state.range(0);
  FactorGraph<double> graph;
  const auto variables = graph.add_variables("spins", {side, side}, 2);
  for (const auto& edges : grid_edges(graph.ids(variables)))
    graph.add_factors("edges", edges,
                      Var<double>::filled({static_cast<std::int64_t>(edges.shape()[0]), 2, 2}, .3, true));
  for (auto _ : state) {
    state.PauseTiming();
    if (state.range(1) == 0) {
      graph.observe(0, 0);
      graph.clear_evidence();
    }
    state.ResumeTiming();
    infer(graph, JunctionTree{}).log_partition.backward();
  }
}

BENCHMARK(training_step)->ArgsProduct({{4, 8, 12}, {0, 1}})->Unit(benchmark::kMillisecond);
BENCHMARK(marginals)->Arg(10)->Arg(13)->Arg(15)->Unit(benchmark::kMillisecond)->UseRealTime();

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (const char* data = std::getenv("TAPESTRY_DATA")) {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(data) / "uai"))
      if (entry.path().extension() == ".uai") paths.push_back(entry.path().string());
    std::sort(paths.begin(), paths.end());
    for (const std::string& path : paths)
      benchmark::RegisterBenchmark(std::filesystem::path(path).stem().c_str(), instance, path)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
