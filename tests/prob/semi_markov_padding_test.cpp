#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/prob/semi_markov.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::garbage;
using testing_models::normal_numbers;
using testing_models::normal_variables;

namespace {

constexpr std::int64_t B = 5, N = 6, D = 3, K = 2;
const Indices lengths{6, 1, 0, 2, 4};

/// Sequence b alone, of its own length, on the same leaves.
SemiMarkovPotentials<double> alone(const std::vector<Var<double>>& x, std::int64_t b) {
  return {slice(slice(x[0], 0, {b, b + 1}), 1, {0, lengths[b]}), x[1], std::nullopt};
}

/// Nothing behind a length is read, segments that would pass it neither.
void spoil(Var<double>& segments) {
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t t = 0; t < N; ++t)
      for (std::int64_t d = 0; d < D; ++d)
        for (std::int64_t k = 0; k < K && t + d >= lengths[b]; ++k)
          segments.mutable_data()[((b * N + t) * D + d) * K + k] = garbage(t + d + k);
}

/// Weights for x of sequences `first` on, each element with its own.
Var<double> weighted(const Var<double>& x, std::int64_t first, std::uint64_t seed) {
  Shape whole = x.shape();
  whole[0] = B, whole[1] = N;
  const auto all = normal_numbers(whole, seed);
  Tensor<double> own = empty_tensor<double>(x.shape());
  const std::int64_t count = x.extent(0), steps = x.extent(1), each = all.size() / (B * N);
  for (std::int64_t b = 0; b < count; ++b)
    for (std::int64_t i = 0; i < steps * each; ++i)
      own.data()[b * steps * each + i] = all.data()[(first + b) * N * each + i];
  return sum(Var<double>(std::move(own)) * x);
}

/// Segments of two steps in changing states, and a last one of what is left.
Segmentation cut(std::int64_t count, std::int64_t steps) {
  Segmentation out{empty_tensor<std::int64_t>({count, steps}), empty_tensor<std::int64_t>({count, steps})};
  for (std::int64_t b = 0; b < count; ++b)
    for (std::int64_t t = 0; t < steps; ++t) {
      out.states.data()[b * steps + t] = t / 2 % K;
      out.begins.data()[b * steps + t] = t % 2 == 0 ? 1 : 0;
    }
  return out;
}

using Quantity = std::function<Var<double>(const SemiMarkovPotentials<double>&, std::int64_t first)>;

}  // namespace

TEST_CASE("semi-Markov chains: every quantity and its gradient of a padded batch is that of each sequence alone") {
  const Tensor<double> pair_weights = normal_numbers({K, K}, 5);
  const std::vector<std::pair<std::string, Quantity>> quantities = {
      {"log-partition", [](const auto& c, auto) { return sum(semi_markov_log_partition(c)); }},
      {"entropy", [](const auto& c, auto) { return sum(semi_markov_entropy(c)); }},
      {"score",
       [](const auto& c, auto) { return sum(semi_markov_score(c, cut(c.segments.extent(0), c.segments.extent(1)))); }},
      {"segments", [](const auto& c, auto first) { return weighted(semi_markov_marginals(c).segments, first, 3); }},
      {"states", [](const auto& c, auto first) { return weighted(semi_markov_marginals(c).states, first, 4); }},
      {"transitions",
       [&](const auto& c, auto) { return sum(Var<double>(pair_weights) * semi_markov_marginals(c).transitions); }}};
  for (const auto& [name, quantity] : quantities) {
    const std::string title = name;
    CAPTURE(title);
    auto padded = normal_variables({{B, N, D, K}, {K, K}});
    const auto single = normal_variables({{B, N, D, K}, {K, K}});
    spoil(padded[0]);
    const auto whole = quantity({padded[0], padded[1], lengths}, 0);
    whole.backward();
    double expected = 0;
    for (std::int64_t b = 0; b < B; ++b) {
      const auto own = quantity(alone(single, b), b);
      expected += own.item();
      if (own.requires_grad()) own.backward();
    }
    CHECK(std::abs(whole.item() - expected) < 1e-11);
    for (std::size_t i = 0; i < 2; ++i)
      for (std::int64_t e = 0; e < padded[i].size(); ++e)
        CHECK(std::abs(padded[i].gradient().data()[e] - single[i].gradient().data()[e]) < 1e-11);
  }
}

TEST_CASE("semi-Markov chains: the best and samples of a padded batch are those of each sequence alone") {
  const auto x = normal_variables({{B, N, D, K}, {K, K}});
  auto spoilt = normal_variables({{B, N, D, K}, {K, K}});
  spoil(spoilt[0]);
  const SemiMarkovPotentials<double> padded{spoilt[0], spoilt[1], lengths};
  Tensor<double> uniforms = empty_tensor<double>({2, B, N});
  for (std::int64_t i = 0; i < 2 * B * N; ++i) uniforms.data()[i] = std::fmod(.37 * static_cast<double>(i + 1), 1.0);
  const auto best = semi_markov_viterbi(padded);
  const auto samples = semi_markov_sample(padded, uniforms);
  for (std::int64_t b = 0; b < B; ++b) {
    const std::int64_t n = lengths[b];
    const auto own = semi_markov_viterbi(alone(x, b));
    CHECK(best.score.data()[b] == own.score.data()[0]);
    Tensor<double> own_uniforms = empty_tensor<double>({2, 1, n});
    for (std::int64_t s = 0; s < 2; ++s)
      for (std::int64_t t = 0; t < n; ++t) own_uniforms.data()[s * n + t] = uniforms.data()[(s * B + b) * N + t];
    const auto own_samples = semi_markov_sample(alone(x, b), own_uniforms);
    for (std::int64_t t = 0; t < N; ++t) {
      CHECK(best.segmentation.states.data()[b * N + t] == (t < n ? own.segmentation.states.data()[t] : -1));
      CHECK(best.segmentation.begins.data()[b * N + t] == (t < n ? own.segmentation.begins.data()[t] : 0));
      for (std::int64_t s = 0; s < 2; ++s) {
        CHECK(samples.states.data()[(s * B + b) * N + t] == (t < n ? own_samples.states.data()[s * n + t] : -1));
        CHECK(samples.begins.data()[(s * B + b) * N + t] == (t < n ? own_samples.begins.data()[s * n + t] : 0));
      }
    }
  }
}
