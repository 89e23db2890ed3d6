// Operations that are bound by memory: elementwise, reductions, softmax, gather and scatter, random numbers.
#include <array>

#include <tapestry/autodiff/elementwise.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/threads.hpp>

#include "hand_written.hpp"
#include "measure.hpp"

using namespace operations;

namespace {

constexpr std::int64_t small = 1 << 14, large = 1 << 20, chunk = 1 << 14;

template <std::int64_t n, class F>
void elementwise_one(benchmark::State& state, F f) {
  const Var<float> x = numbers<float>({n}, false, 0.1, 2);
  run_forward(state, [&] { return f(x); });
  report_bytes(state, 8.0 * n);
}

template <std::int64_t n>
void add(benchmark::State& state) {
  const Var<float> a = numbers<float>({n}), b = numbers<float>({n});
  run_forward(state, [&] { return a + b; });
  report_bytes(state, 12.0 * n);
}
void add_column(benchmark::State& state) {
  const Var<float> a = numbers<float>({1024, 1024}), b = numbers<float>({1024, 1});
  run_forward(state, [&] { return a + b; });
  report_bytes(state, 8.0 * large);
}
void add_row(benchmark::State& state) {
  const Var<float> a = numbers<float>({1024, 1024}), b = numbers<float>({1024});
  run_forward(state, [&] { return a + b; });
  report_bytes(state, 8.0 * large);
}
void exp_small(benchmark::State& state) {
  elementwise_one<small>(state, [](const auto& x) { return exp(x); });
}
void exp_large(benchmark::State& state) {
  elementwise_one<large>(state, [](const auto& x) { return exp(x); });
}
void log_large(benchmark::State& state) {
  elementwise_one<large>(state, [](const auto& x) { return log(x); });
}
void tanh_large(benchmark::State& state) {
  elementwise_one<large>(state, [](const auto& x) { return tanh(x); });
}
void relu_large(benchmark::State& state) {
  elementwise_one<large>(state, [](const auto& x) { return relu(x); });
}
// Reads x, and writes the value and the gradient; the rest is the library's own traffic.
void chain_backward(benchmark::State& state) {
  Var<float> x = numbers<float>({large}, true);
  run_backward(state, [&] {
    x.zero_gradient();
    return sum(tanh(sigmoid(x) * x + exp(x)));
  });
  report_bytes(state, 12.0 * large);
}
void lambda_backward(benchmark::State& state) {
  Var<float> x = numbers<float>({large}, true);
  run_backward(state, [&] {
    x.zero_gradient();
    return sum(tapestry::elementwise([](auto a) { return tanh(sigmoid(a) * a + exp(a)); }, x));
  });
  report_bytes(state, 12.0 * large);
}
#if defined(__x86_64__)
// What the lambda's pass and the sum are without a tape.
void hand_written_backward(benchmark::State& state) {
  if (tapestry::detail::instruction_set() != tapestry::detail::InstructionSet::avx512) {
    state.SkipWithError("written for AVX-512");
    return;
  }
  use_threads(state);
  const Var<float> x = numbers<float>({large});
  Var<float> y = Var<float>::zeros({large}), derivative = Var<float>::zeros({large});
  const auto& kernels = tapestry::detail::kernels<tapestry::detail::ElementwiseKernels<float>>();
  for (auto _ : state) {
    std::array<float, large / chunk> sums;
    tapestry::detail::parallel_for(large, chunk, [&](std::int64_t begin, std::int64_t end, std::int64_t number) {
      const auto n = static_cast<std::size_t>(end - begin);
      hand_written_chain(x.data() + begin, y.mutable_data() + begin, derivative.mutable_data() + begin, n);
      sums[static_cast<std::size_t>(number)] = kernels.sum(y.data() + begin, n);
    });
    benchmark::DoNotOptimize(kernels.sum(sums.data(), sums.size()));
  }
  report_bytes(state, 12.0 * large);
}
#endif

template <class T, class F>
void reduction(benchmark::State& state, F f) {
  const Var<T> x = numbers<T>({1024, 1024});
  run_forward(state, [&] { return f(x); });
  report_bytes(state, static_cast<double>(sizeof(T)) * large);
}
void sum_all(benchmark::State& state) {
  reduction<float>(state, [](const auto& x) { return sum(x); });
}
void sum_rows(benchmark::State& state) {
  reduction<float>(state, [](const auto& x) { return sum(x, {1}); });
}
void sum_columns(benchmark::State& state) {
  reduction<float>(state, [](const auto& x) { return sum(x, {0}); });
}
void sum_columns_double(benchmark::State& state) {
  reduction<double>(state, [](const auto& x) { return sum(x, {0}); });
}
void logsumexp_rows(benchmark::State& state) {
  reduction<float>(state, [](const auto& x) { return logsumexp(x, {1}); });
}
void softmax_rows(benchmark::State& state) {
  const Var<float> x = numbers<float>({1024, 1024});
  run_forward(state, [&] { return softmax(x, -1); });
  report_bytes(state, 8.0 * large);
}
void softmax_columns(benchmark::State& state) {
  const Var<float> x = numbers<float>({1024, 1024});
  run_forward(state, [&] { return softmax(x, 0); });
  report_bytes(state, 8.0 * large);
}
void transpose_copy(benchmark::State& state) {
  const Var<float> x = numbers<float>({1024, 1024});
  run_forward(state, [&] { return transpose(x); });
  report_bytes(state, 8.0 * large);
}

// Rows of 256 bytes out of a table of 16 MB.
void gather_rows(benchmark::State& state) {
  const Var<float> table = numbers<float>({65536, 64});
  const tapestry::Indices rows = positions({8192}, 65536);
  run_forward(state, [&] { return take(table, rows, 0); });
  report_bytes(state, 2.0 * 8192 * 256);
}
void embedding_backward(benchmark::State& state) {
  Var<float> table = numbers<float>({65536, 64}, true);
  const tapestry::Indices rows = positions({8192}, 65536);
  run_backward(state, [&] {
    table.zero_gradient();
    return sum(embedding(table, rows));
  });
  report_bytes(state, 4.0 * 8192 * 256);
}
void take_along_columns(benchmark::State& state) {
  const Var<float> x = numbers<float>({8192, 128});
  const tapestry::Indices columns = positions({8192, 16}, 128);
  run_forward(state, [&] { return take_along_axis(x, columns, -1); });
  report_bytes(state, 2.0 * 4 * 8192 * 16 + 8.0 * 8192 * 16);
}

template <class F>
void random_numbers(benchmark::State& state, F f) {
  use_threads(state);
  tapestry::Generator random(1);
  for (auto _ : state) benchmark::DoNotOptimize(f(random).data());
  report_bytes(state, 4.0 * large);
  state.SetItemsProcessed(state.iterations() * large);
}
void random_uniform(benchmark::State& state) {
  random_numbers(state, [](auto& random) { return random.template uniform<float>({large}); });
}
void random_normal(benchmark::State& state) {
  random_numbers(state, [](auto& random) { return random.template normal<float>({large}); });
}
void random_bernoulli(benchmark::State& state) {
  random_numbers(state, [](auto& random) { return random.template bernoulli<float>({large}, 0.3f); });
}
void random_gumbel(benchmark::State& state) {
  random_numbers(state, [](auto& random) { return random.template gumbel<float>({large}); });
}

}  // namespace

BENCHMARK(add<small>)->Apply(with_threads);
BENCHMARK(add<large>)->Apply(with_threads);
BENCHMARK(add_column)->Apply(with_threads);
BENCHMARK(add_row)->Apply(with_threads);
BENCHMARK(exp_small)->Apply(with_threads);
BENCHMARK(exp_large)->Apply(with_threads);
BENCHMARK(log_large)->Apply(with_threads);
BENCHMARK(tanh_large)->Apply(with_threads);
BENCHMARK(relu_large)->Apply(with_threads);
BENCHMARK(chain_backward)->Apply(with_threads);
BENCHMARK(lambda_backward)->Apply(with_threads);
#if defined(__x86_64__)
BENCHMARK(hand_written_backward)->Apply(with_threads);
#endif
BENCHMARK(sum_all)->Apply(with_threads);
BENCHMARK(sum_rows)->Apply(with_threads);
BENCHMARK(sum_columns)->Apply(with_threads);
BENCHMARK(sum_columns_double)->Apply(with_threads);
BENCHMARK(logsumexp_rows)->Apply(with_threads);
BENCHMARK(softmax_rows)->Apply(with_threads);
BENCHMARK(softmax_columns)->Apply(with_threads);
BENCHMARK(transpose_copy)->Apply(with_threads);
BENCHMARK(gather_rows)->Apply(with_threads);
BENCHMARK(embedding_backward)->Apply(with_threads);
BENCHMARK(take_along_columns)->Apply(with_threads);
BENCHMARK(random_uniform)->Apply(with_threads);
BENCHMARK(random_normal)->Apply(with_threads);
BENCHMARK(random_bernoulli)->Apply(with_threads);
BENCHMARK(random_gumbel)->Apply(with_threads);
