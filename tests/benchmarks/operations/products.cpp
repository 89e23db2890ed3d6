// Operations that are bound by arithmetic: matrix products, convolutions, recurrent layers, decompositions.
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/cholesky.hpp>
#include <tapestry/autodiff/ops/convolution.hpp>
#include <tapestry/autodiff/ops/decomposition.hpp>
#include <tapestry/autodiff/ops/linear.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/recurrent.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/solve.hpp>

#include "measure.hpp"

using namespace operations;

namespace {

template <class T>
void matmul_of(benchmark::State& state, std::int64_t m, std::int64_t n, std::int64_t k, bool transposed = false) {
  const Var<T> a = numbers<T>({m, k}), b = transposed ? numbers<T>({n, k}) : numbers<T>({k, n});
  run_forward(state, [&] { return matmul(a, b, {.transpose_b = transposed}); });
  report_flops<T>(state, 2.0 * static_cast<double>(m * n * k));
}
void matmul_8(benchmark::State& state) {
  matmul_of<float>(state, 8, 8, 8);
}
void matmul_64(benchmark::State& state) {
  matmul_of<float>(state, 64, 64, 64);
}
void matmul_256(benchmark::State& state) {
  matmul_of<float>(state, 256, 256, 256);
}
void matmul_1024(benchmark::State& state) {
  matmul_of<float>(state, 1024, 1024, 1024);
}
void matmul_1024_double(benchmark::State& state) {
  matmul_of<double>(state, 1024, 1024, 1024);
}
// The shapes of a layer: a batch times weights, the gradient of its inputs, and that of its weights.
void matmul_32x512x784(benchmark::State& state) {
  matmul_of<float>(state, 32, 512, 784);
}
void matmul_128x512x784(benchmark::State& state) {
  matmul_of<float>(state, 128, 512, 784);
}
void matmul_128x784x512_transposed(benchmark::State& state) {
  matmul_of<float>(state, 128, 784, 512, true);
}
void matmul_784x512x128(benchmark::State& state) {
  matmul_of<float>(state, 784, 512, 128);
}
void matmul_batch_64x64x64x64(benchmark::State& state) {
  const Var<float> a = numbers<float>({64, 64, 64}), b = numbers<float>({64, 64, 64});
  run_forward(state, [&] { return matmul(a, b); });
  report_flops<float>(state, 2.0 * 64 * 64 * 64 * 64);
}
void linear_backward_128x784x512(benchmark::State& state) {
  const Var<float> x = numbers<float>({128, 784}, true);
  Var<float> w = numbers<float>({784, 512}, true), b = numbers<float>({512}, true);
  run_backward(state, [&] { return sum(linear(x, w, b, tapestry::Activation::relu)); });
  report_flops<float>(state, 6.0 * 128 * 784 * 512);
}

void convolution(benchmark::State& state, std::int64_t batch, std::int64_t in, std::int64_t out, std::int64_t side,
                 std::int64_t kernel, bool backward) {
  const Var<float> x = numbers<float>({batch, in, side, side}, backward);
  const Var<float> w = numbers<float>({out, in, kernel, kernel}, backward), b = numbers<float>({out}, backward);
  if (backward)
    run_backward(state, [&] { return sum(conv2d(x, w, b)); });
  else
    run_forward(state, [&] { return conv2d(x, w, b); });
  const std::int64_t pixels = (side - kernel + 1) * (side - kernel + 1);
  report_flops<float>(state, (backward ? 6.0 : 2.0) * static_cast<double>(batch * in * out * pixels * kernel * kernel));
}
void conv2d_first_layer(benchmark::State& state) {
  convolution(state, 64, 1, 32, 28, 5, false);
}
void conv2d_32_to_64(benchmark::State& state) {
  convolution(state, 64, 32, 64, 12, 5, false);
}
void conv2d_64_to_64(benchmark::State& state) {
  convolution(state, 16, 64, 64, 30, 3, false);
}
void conv2d_backward_32_to_64(benchmark::State& state) {
  convolution(state, 64, 32, 64, 12, 5, true);
}

constexpr std::int64_t steps = 20, batch = 32, inputs = 128, hidden = 256;
void lstm_backward(benchmark::State& state) {
  const Var<float> x = numbers<float>({steps, batch, inputs}), zero = Var<float>::zeros({batch, hidden});
  const Var<float> wx = numbers<float>({4 * hidden, inputs}, true, -0.1, 0.1);
  const Var<float> wh = numbers<float>({4 * hidden, hidden}, true, -0.1, 0.1), b = numbers<float>({4 * hidden}, true);
  run_backward(state, [&] { return sum(lstm(x, zero, zero, wx, wh, b).output); });
  report_flops<float>(state, 8.0 * steps * batch * hidden * (2 * inputs + 3 * hidden));
}
void gru_backward(benchmark::State& state) {
  const Var<float> x = numbers<float>({steps, batch, inputs}), zero = Var<float>::zeros({batch, hidden});
  const Var<float> wx = numbers<float>({3 * hidden, inputs}, true, -0.1, 0.1);
  const Var<float> wh = numbers<float>({3 * hidden, hidden}, true, -0.1, 0.1);
  const Var<float> bx = numbers<float>({3 * hidden}, true), bh = numbers<float>({3 * hidden}, true);
  run_backward(state, [&] { return sum(gru(x, zero, wx, wh, bx, bh).output); });
  report_flops<float>(state, 6.0 * steps * batch * hidden * (2 * inputs + 3 * hidden));
}

template <class T>
Var<T> positive_definite(std::int64_t n, bool requires_grad) {
  const Var<T> a = numbers<T>({n, n});
  Var<T> s = matmul(a, a, {.transpose_b = true}).detach();
  for (std::int64_t i = 0; i < n; ++i) s.mutable_data()[i * (n + 1)] += static_cast<T>(n);
  return s.set_requires_grad(requires_grad);
}
void cholesky_256(benchmark::State& state) {
  const Var<float> s = positive_definite<float>(256, false);
  run_forward(state, [&] { return cholesky(s); });
  report_flops<float>(state, 256.0 * 256 * 256 / 3);
}
void logdet_backward_256(benchmark::State& state) {
  const Var<float> s = positive_definite<float>(256, true);
  run_backward(state, [&] { return logdet_spd(s); });
  report_flops<float>(state, 256.0 * 256 * 256);
}
void solve_256(benchmark::State& state) {
  const Var<double> s = positive_definite<double>(256, false), b = numbers<double>({256, 64});
  run_forward(state, [&] { return solve(s, b); });
  report_flops<double>(state, 2.0 / 3 * 256 * 256 * 256 + 2.0 * 256 * 256 * 64);
}
void eigh_64(benchmark::State& state) {
  const Var<double> s = positive_definite<double>(64, false);
  run_forward(state, [&] { return eigh(s).values; });
  report_flops<double>(state, 9.0 * 64 * 64 * 64);
}
void svd_64(benchmark::State& state) {
  const Var<double> a = numbers<double>({64, 64});
  run_forward(state, [&] { return svd(a).s; });
  report_flops<double>(state, 22.0 * 64 * 64 * 64);
}

}  // namespace

BENCHMARK(matmul_8)->Apply(with_threads);
BENCHMARK(matmul_64)->Apply(with_threads);
BENCHMARK(matmul_256)->Apply(with_threads);
BENCHMARK(matmul_1024)->Apply(with_threads);
BENCHMARK(matmul_1024_double)->Apply(with_threads);
BENCHMARK(matmul_32x512x784)->Apply(with_threads);
BENCHMARK(matmul_128x512x784)->Apply(with_threads);
BENCHMARK(matmul_128x784x512_transposed)->Apply(with_threads);
BENCHMARK(matmul_784x512x128)->Apply(with_threads);
BENCHMARK(matmul_batch_64x64x64x64)->Apply(with_threads);
BENCHMARK(linear_backward_128x784x512)->Apply(with_threads);
BENCHMARK(conv2d_first_layer)->Apply(with_threads);
BENCHMARK(conv2d_32_to_64)->Apply(with_threads);
BENCHMARK(conv2d_64_to_64)->Apply(with_threads);
BENCHMARK(conv2d_backward_32_to_64)->Apply(with_threads);
BENCHMARK(lstm_backward)->Apply(with_threads);
BENCHMARK(gru_backward)->Apply(with_threads);
BENCHMARK(cholesky_256)->Apply(with_threads);
BENCHMARK(logdet_backward_256)->Apply(with_threads);
BENCHMARK(solve_256)->Apply(with_threads);
BENCHMARK(eigh_64)->Apply(with_threads);
BENCHMARK(svd_64)->Apply(with_threads);
