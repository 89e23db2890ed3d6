// The junction tree on grids of binary variables, against memory bandwidth: `passes` is how often
// all tables could have been read in the time.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <numeric>
#include <random>

#include <tapestry/autodiff/threads.hpp>
#include <tapestry/prob/inference/clique_tree.hpp>

using namespace tapestry;

namespace {

/// Processor time: other programs do not count.
double seconds_since(std::clock_t start) {
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

/// Seconds that it takes to read so many numbers once, the least of some tries.
double reading(double entries) {
  const std::vector<double> table(static_cast<std::size_t>(entries), 1.0);
  double least = 1e300;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::clock();
    double sums[8] = {};
    for (std::size_t j = 0; j + 8 <= table.size(); j += 8)
      for (std::size_t k = 0; k < 8; ++k) sums[k] += table[j + k];
    benchmark::DoNotOptimize(std::accumulate(sums, sums + 8, 0.0));
    least = std::min(least, seconds_since(start));
  }
  return least;
}

void marginals(benchmark::State& state) {
  set_threads(1);
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
  const double once = reading(tree.entries());
  double seconds = 0;
  for (auto _ : state) {
    const auto start = std::clock();
    benchmark::DoNotOptimize(tree.sums(tables, TableScale::linear, {}, true, false).log_partition);
    seconds += seconds_since(start);
  }
  state.counters["width"] = static_cast<double>(tree.width());
  state.counters["entries"] = tree.entries();
  state.counters["passes"] = seconds / static_cast<double>(state.iterations()) / once;
}

}  // namespace

BENCHMARK(marginals)->Arg(10)->Arg(13)->Arg(15)->Unit(benchmark::kMillisecond)->UseRealTime();

BENCHMARK_MAIN();
