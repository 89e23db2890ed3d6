// The junction tree on grids of binary variables, and on the instances of $TAPESTRY_DATA/uai, against memory bandwidth:
// `ratio` is the time over that of the table operations (each table is written when it is assembled, read for the
// message up, read and written for the one down, and read for marginals) at the speed at which arrays of that size are
// read and changed in place.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/prob/inference/clique_tree.hpp>
#include <tapestry/prob/io/uai.hpp>

using namespace tapestry;

namespace {

/// Processor time: other programs do not count.
double seconds_since(std::clock_t start) {
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

/// Seconds that the table operations take at memory bandwidth, the least of some tries.
double table_operations(double entries) {
  std::vector<double> table(static_cast<std::size_t>(entries), 1.0);
  const auto& kernels = detail::kernels<detail::ElementwiseKernels<double>>();
  const int times = std::max(1, static_cast<int>(1e7 / entries));
  double reading = 1e300, changing = 1e300;
  for (int i = 0; i < 5; ++i) {
    auto start = std::clock();
    for (int n = 0; n < times; ++n) benchmark::DoNotOptimize(kernels.sum(table.data(), table.size()));
    reading = std::min(reading, seconds_since(start));
    start = std::clock();
    for (int n = 0; n < times; ++n) kernels.scale(1, table.data(), table.data(), table.size());
    changing = std::min(changing, seconds_since(start));
  }
  // A table that is written was read into the cache before.
  return (2 * changing + 2 * reading) / times;
}

void measure(benchmark::State& state, const CliqueTree& tree, const std::vector<const double*>& tables,
             const std::vector<std::int64_t>& states) {
  set_threads(1);
  const double bound = table_operations(tree.entries());
  benchmark::DoNotOptimize(tree.sums(tables, TableScale::linear, states, true, false).log_partition);
  double seconds = 1e300;
  for (auto _ : state) {
    const auto start = std::clock();
    benchmark::DoNotOptimize(tree.sums(tables, TableScale::linear, states, true, false).log_partition);
    seconds = std::min(seconds, seconds_since(start));
  }
  state.counters["width"] = static_cast<double>(tree.width());
  state.counters["entries"] = tree.entries();
  state.counters["ratio"] = seconds / bound;
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
