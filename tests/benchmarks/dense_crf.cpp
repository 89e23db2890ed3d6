// The permutohedral lattice and an iteration of a dense field on an image of 320 x 213 pixels with 21 labels.

#include <benchmark/benchmark.h>

#include <cmath>
#include <random>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/prob/dense/dense_mean_field.hpp>

using namespace tapestry;

namespace {

constexpr std::int64_t height = 213, width = 320, labels = 21;

/// Smooth shapes with some noise, as photographs have it: noise alone would put each pixel in a simplex of its own.
Tensor<float> image() {
  std::mt19937 random(1);
  std::normal_distribution<float> noise(0, 3);
  Tensor<float> out = empty_tensor<float>({height, width, 3});
  float* to = out.data();
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t c = 0; c < 3; ++c)
        *to++ = 120 + 60 * std::sin(.02F * static_cast<float>(x + c * y)) + (3 * x > 2 * width - y ? 50.F : 0.F) +
                noise(random);
  return out;
}

void build_lattice(benchmark::State& state) {
  const auto features = pixel_features(image(), 80.F, 13.F);
  std::int64_t vertices = 0;
  for (auto _ : state) vertices = GaussianFilter<float>(features, {.normalize = true}).vertices();
  state.counters["vertices"] = static_cast<double>(vertices);
}
void filter_colors(benchmark::State& state) {
  set_threads(static_cast<int>(state.range(0)));
  const NoGradients none;
  const GaussianFilter<float> filter(pixel_features(image(), 80.F, 13.F));
  const auto q = Var<float>::ones({height * width, labels});
  for (auto _ : state) benchmark::DoNotOptimize(filter(q).data());
}
void field(benchmark::State& state, bool backward) {
  set_threads(static_cast<int>(state.range(0)));
  const std::vector<GaussianFilter<float>> filters = {
      GaussianFilter<float>(pixel_features(image(), 80.F, 13.F), {.normalize = true}),
      GaussianFilter<float>(pixel_features(height, width, 3.F), {.normalize = true})};
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  Tensor<float> potentials = empty_tensor<float>({height * width, labels});
  for (float& x : potentials) x = normal(random);
  Tensor<float> agree = empty_tensor<float>({labels, labels});
  for (std::int64_t i = 0; i < labels * labels; ++i) agree.data()[i] = i % (labels + 1) == 0 ? 1.F : 0.F;
  const Var<float> unary(std::move(potentials), backward), weights(Tensor<float>({5.F, 3.F}), backward),
      compatibility(std::move(agree), backward);
  for (auto _ : state) {
    const auto result =
        dense_mean_field(unary, filters, weights, compatibility, {.iterations = 1, .log_partition = false});
    if (backward) sum(result.marginals * result.marginals).backward();
    benchmark::DoNotOptimize(result.marginals.data());
  }
}
void iteration(benchmark::State& state) {
  const NoGradients none;
  field(state, false);
}
void iteration_and_gradient(benchmark::State& state) {
  field(state, true);
}

}  // namespace

BENCHMARK(build_lattice)->Unit(benchmark::kMillisecond);
BENCHMARK(filter_colors)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(iteration)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(iteration_and_gradient)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();

BENCHMARK_MAIN();
