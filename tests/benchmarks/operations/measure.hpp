#pragma once

#include <cstdint>

#include <benchmark/benchmark.h>

#include <tapestry/autodiff/tape.hpp>
#include <tapestry/autodiff/tensor.hpp>
#include <tapestry/autodiff/variable.hpp>

// What the benchmarks of single operations share: inputs, and what the machine can do at best, measured by this
// program.
namespace operations {

using tapestry::Shape;
template <class T>
using Var = tapestry::Var<T>;

/// Numbers in [low, high), the same each time.
template <class T>
Var<T> numbers(const Shape& shape, bool requires_grad = false, double low = -1, double high = 1);
tapestry::IndexTensor positions(const Shape& shape, std::int64_t below);

/// Floating-point operations a second of the matrix product n = 1024, and bytes a second of an addition of two arrays
/// that with the result take `bytes`; with the number of threads that is set.
template <class T>
double peak_flops();
double peak_bandwidth(double bytes);

/// Reports what an iteration reads, writes and computes. Call after the loop.
void report_bytes(benchmark::State& state, double bytes_an_iteration);
template <class T>
void report_flops(benchmark::State& state, double flops_an_iteration);

/// Runs f with the number of threads that is the benchmark's first argument, without recording.
template <class F>
void run_forward(benchmark::State& state, F f);
/// f's value and gradients: f gives a variable with one element.
template <class F>
void run_backward(benchmark::State& state, F f);

void use_threads(benchmark::State& state);

/// For each benchmark: one thread, and all of them; real time, and no longer than it takes.
void with_threads(benchmark::internal::Benchmark* benchmark);

template <class F>
void run_forward(benchmark::State& state, F f) {
  use_threads(state);
  const tapestry::NoGradients off;
  for (auto _ : state) benchmark::DoNotOptimize(f());
}

template <class F>
void run_backward(benchmark::State& state, F f) {
  use_threads(state);
  for (auto _ : state) f().backward();
}

}  // namespace operations
