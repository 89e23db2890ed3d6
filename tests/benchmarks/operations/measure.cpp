#include "measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace operations {
namespace {

// Seconds of the fastest of several runs.
template <class F>
double fastest(F f) {
  double best = 1e30;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) {
    const auto before = std::chrono::steady_clock::now();
    f();
    const auto after = std::chrono::steady_clock::now();
    best = std::min(best, std::chrono::duration<double>(after - before).count());
    if (i >= 5 && std::chrono::duration<double>(after - start).count() > 0.1) break;
  }
  return best;
}

}  // namespace

template <class T>
Var<T> numbers(const Shape& shape, bool requires_grad, double low, double high) {
  return Var<T>(tapestry::Generator(1).uniform<T>(shape, static_cast<T>(low), static_cast<T>(high)), requires_grad);
}

tapestry::IndexTensor positions(const Shape& shape, std::int64_t below) {
  return tapestry::Generator(2).integers(shape, below);
}

template <class T>
double peak_flops() {
  static std::map<int, double> known;
  const auto [entry, added] = known.try_emplace(tapestry::threads(), 0.0);
  if (added) {
    constexpr std::int64_t n = 1024;
    const std::vector<T> a(n * n, T(1)), b(n * n, T(1));
    std::vector<T> c(n * n);
    entry->second = 2.0 * n * n * n / fastest([&] {
                      tapestry::detail::gemm(false, false, n, n, n, T(1), a.data(), n, b.data(), n, T(0), c.data(), n);
                    });
  }
  return entry->second;
}

double peak_bandwidth(double bytes) {
  static std::map<std::pair<int, int>, double> known;
  const int size = static_cast<int>(std::lround(std::log2(bytes)));
  const auto [entry, added] = known.try_emplace({tapestry::threads(), size}, 0.0);
  if (added) {
    const auto n = static_cast<std::int64_t>(std::exp2(size) / 12);
    const std::vector<float> a(static_cast<std::size_t>(n), 1.f), b(a);
    std::vector<float> c(a.size());
    using Kernels = tapestry::detail::ElementwiseKernels<float>;
    const auto add = tapestry::detail::kernels<Kernels>().binary[static_cast<int>(tapestry::detail::Binary::add)];
    entry->second =
        12.0 * static_cast<double>(n) / fastest([&] {
          tapestry::detail::parallel_for(n, 32768, [&](std::int64_t begin, std::int64_t end) {
            add(a.data() + begin, 1, b.data() + begin, 1, c.data() + begin, static_cast<std::size_t>(end - begin));
          });
        });
  }
  return entry->second;
}

void report_bytes(benchmark::State& state, double bytes_an_iteration) {
  const double bytes = bytes_an_iteration * static_cast<double>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsRate);
  state.counters["peak GB/s"] = peak_bandwidth(bytes_an_iteration) * 1e-9;
}

template <class T>
void report_flops(benchmark::State& state, double flops_an_iteration) {
  const double flops = flops_an_iteration * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
  state.counters["peak GFLOP/s"] = peak_flops<T>() * 1e-9;
}

void use_threads(benchmark::State& state) {
  tapestry::set_threads(static_cast<int>(state.range(0)));
}

void with_threads(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("threads")->Arg(1)->UseRealTime()->MinTime(0.05)->Unit(benchmark::kMicrosecond);
  if (const unsigned cores = std::thread::hardware_concurrency(); cores > 1) benchmark->Arg(static_cast<int>(cores));
}

#define TAPESTRY_INSTANTIATE(T)                                \
  template Var<T> numbers(const Shape&, bool, double, double); \
  template double peak_flops<T>();                             \
  template void report_flops<T>(benchmark::State&, double);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace operations
