// Special functions, scans along an axis, slices whose gradient is recorded, and windows.
#include <tapestry/autodiff/derivatives.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/cumulative.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/pooling.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/special.hpp>

#include "measure.hpp"

using namespace operations;

namespace {

constexpr std::int64_t rows = 1024, columns = 1024;

template <class F>
void forward_of(benchmark::State& state, F f) {
  const Var<float> x = numbers<float>({rows, columns}, false, 0.1, 4);
  run_forward(state, [&] { return f(x); });
  report_bytes(state, 8.0 * rows * columns);
}
template <class F>
void backward_of(benchmark::State& state, F f) {
  Var<float> x = numbers<float>({rows, columns}, true, 0.1, 4);
  run_backward(state, [&] {
    x.zero_gradient();
    return sum(f(x));
  });
  report_bytes(state, 16.0 * rows * columns);
}

void erf_large(benchmark::State& state) {
  forward_of(state, [](const auto& x) { return erf(x); });
}
void lgamma_large(benchmark::State& state) {
  forward_of(state, [](const auto& x) { return lgamma(x); });
}
void digamma_large(benchmark::State& state) {
  forward_of(state, [](const auto& x) { return digamma(x); });
}
void cumsum_rows(benchmark::State& state) {
  forward_of(state, [](const auto& x) { return cumsum(x, -1); });
}
void cumsum_columns(benchmark::State& state) {
  forward_of(state, [](const auto& x) { return cumsum(x, 0); });
}
void logcumsumexp_rows(benchmark::State& state) {
  forward_of(state, [](const auto& x) { return logcumsumexp(x, -1); });
}
void logcumsumexp_rows_backward(benchmark::State& state) {
  backward_of(state, [](const auto& x) { return logcumsumexp(x, -1); });
}

// The gradient of a slice of a square, and the gradient of that one's sum.
void slice_second_order(benchmark::State& state) {
  Var<float> x = numbers<float>({rows, columns}, true);
  run_backward(state, [&] {
    x.zero_gradient();
    const Var<float> y = slice(x, 1, {1, columns - 1});
    return sum(square(grad(sum(y * y * y), {x}, {.create_graph = true})[0]));
  });
  report_bytes(state, 8.0 * rows * columns);
}

const tapestry::HeightWidth three{3, 3};
const tapestry::Pool2dOptions by_two{.stride = tapestry::HeightWidth{2, 2}};

template <class F>
void windows(benchmark::State& state, F f) {
  Var<float> x = numbers<float>({32, 32, 56, 56}, true);
  run_backward(state, [&] {
    x.zero_gradient();
    return sum(f(x));
  });
  report_bytes(state, 8.0 * static_cast<double>(x.size()));
}
void max_pool_3x3_by_2(benchmark::State& state) {
  windows(state, [](const auto& x) { return max_pool2d(x, three, by_two); });
}
void avg_pool_3x3_by_2(benchmark::State& state) {
  windows(state, [](const auto& x) { return avg_pool2d(x, three, by_two); });
}

}  // namespace

BENCHMARK(erf_large)->Apply(with_threads);
BENCHMARK(lgamma_large)->Apply(with_threads);
BENCHMARK(digamma_large)->Apply(with_threads);
BENCHMARK(cumsum_rows)->Apply(with_threads);
BENCHMARK(cumsum_columns)->Apply(with_threads);
BENCHMARK(logcumsumexp_rows)->Apply(with_threads);
BENCHMARK(logcumsumexp_rows_backward)->Apply(with_threads);
BENCHMARK(slice_second_order)->Apply(with_threads);
BENCHMARK(max_pool_3x3_by_2)->Apply(with_threads);
BENCHMARK(avg_pool_3x3_by_2)->Apply(with_threads);
