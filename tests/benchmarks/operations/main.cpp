// Single operations, by family: what they reach beside what the machine does at best (a large matrix product, and the
// addition of two arrays of that size), measured by the same program. "backward" is value and gradients.
#include <cstdio>
#include <thread>

#include <tapestry/autodiff/threads.hpp>

#include "measure.hpp"

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  for (int threads = 1; threads <= cores; threads = threads < cores ? cores : cores + 1) {
    tapestry::set_threads(threads);
    char text[200];
    std::snprintf(text, sizeof text, "%.0f GFLOP/s float, %.0f double; %.0f GB/s in 1 MB, %.0f in 256 MB",
                  operations::peak_flops<float>() * 1e-9, operations::peak_flops<double>() * 1e-9,
                  operations::peak_bandwidth(1 << 20) * 1e-9, operations::peak_bandwidth(1 << 28) * 1e-9);
    benchmark::AddCustomContext("peak with " + std::to_string(threads) + (threads == 1 ? " thread" : " threads"), text);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
