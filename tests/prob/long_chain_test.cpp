#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/chain.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;

namespace {

constexpr std::size_t N = 100000, K = 3;

/// log-partition and expected numbers of states and transitions by forward and backward sums of logarithms, in long
/// double. Potentials of transitions: one matrix, or one for each step.
struct Expected {
  long double log_partition = 0;
  std::vector<double> unary, transitions;
};
Expected forward_backward(const double* unary, const double* transitions, bool by_step) {
  const auto step = [&](std::size_t t, std::size_t i, std::size_t j) {
    return static_cast<long double>(transitions[((by_step ? t - 1 : 0) * K + i) * K + j]);
  };
  const auto log_sum = [](const long double* x) {
    const long double most = *std::max_element(x, x + K);
    long double sum = 0;
    for (std::size_t i = 0; i < K; ++i) sum += std::exp(x[i] - most);
    return most + std::log(sum);
  };
  // Less each step's largest, which is kept.
  std::vector<long double> ahead(N * K), behind(N * K, 0), scale(N, 0);
  long double terms[K];
  Expected out;
  for (std::size_t t = 0; t < N; ++t) {
    for (std::size_t j = 0; j < K; ++j) {
      for (std::size_t i = 0; i < K && t > 0; ++i) terms[i] = ahead[(t - 1) * K + i] + step(t, i, j);
      ahead[t * K + j] = unary[t * K + j] + (t > 0 ? log_sum(terms) : 0);
    }
    scale[t] = *std::max_element(&ahead[t * K], &ahead[t * K] + K);
    out.log_partition += scale[t];
    for (std::size_t j = 0; j < K; ++j) ahead[t * K + j] -= scale[t];
  }
  out.log_partition += log_sum(&ahead[(N - 1) * K]);
  for (std::size_t t = N - 1; t > 0; --t)
    for (std::size_t i = 0; i < K; ++i) {
      for (std::size_t j = 0; j < K; ++j) terms[j] = step(t, i, j) + unary[t * K + j] + behind[t * K + j] - scale[t];
      behind[(t - 1) * K + i] = log_sum(terms);
    }
  // All that is left of the scales is in the last row's sum.
  const long double rest = log_sum(&ahead[(N - 1) * K]);
  out.transitions.assign((by_step ? N - 1 : 1) * K * K, 0);
  for (std::size_t t = 0; t < N; ++t)
    for (std::size_t j = 0; j < K; ++j) {
      out.unary.push_back(static_cast<double>(std::exp(ahead[t * K + j] + behind[t * K + j] - rest)));
      for (std::size_t i = 0; i < K && t > 0; ++i)
        out.transitions[((by_step ? t - 1 : 0) * K + i) * K + j] += static_cast<double>(
            std::exp(ahead[(t - 1) * K + i] + step(t, i, j) + unary[t * K + j] + behind[t * K + j] - scale[t] - rest));
    }
  return out;
}

}  // namespace

TEST_CASE("chains: a hundred thousand steps with potentials of +-500 have the gradients of sums in long double") {
  std::mt19937_64 random(5);
  const auto draw = [&](const Shape& shape, double most) {
    Tensor<double> x = empty_tensor<double>(shape);
    for (double& one : x) one = std::uniform_real_distribution<double>(-most, most)(random);
    return x;
  };
  const auto n = static_cast<std::int64_t>(N), k = static_cast<std::int64_t>(K);
  for (const auto& [shape, most] : {std::pair{Shape{k, k}, 2.}, {Shape{k, k}, 500.}, {Shape{n - 1, k, k}, 500.}}) {
    const bool by_step = shape.rank() == 3;
    CAPTURE(by_step);
    const Var<double> unary(draw({1, n, k}, 500), true), transitions(draw(shape, most), true);
    const auto expected = forward_backward(unary.data(), transitions.data(), by_step);
    const auto z = chain_log_partition<double>({unary, transitions});
    CHECK(std::abs(z.data()[0] - static_cast<double>(expected.log_partition)) <
          1e-14 * std::abs(static_cast<double>(expected.log_partition)));
    const auto best = chain_viterbi<double>({unary, transitions});
    long double score = 0;
    for (std::size_t t = 0; t < N; ++t) {
      const auto state = static_cast<std::size_t>(best.states.data()[t]);
      score += unary.data()[t * K + state];
      if (t > 0)
        score +=
            transitions
                .data()[((by_step ? t - 1 : 0) * K + static_cast<std::size_t>(best.states.data()[t - 1])) * K + state];
    }
    CHECK(std::abs(best.score.data()[0] - static_cast<double>(score)) < 1e-14 * std::abs(static_cast<double>(score)));
    sum(z).backward();
    double worst = 0, worst_transition = 0;
    for (std::size_t i = 0; i < N * K; ++i)
      worst = std::max(worst, std::abs(unary.gradient().data()[i] - expected.unary[i]));
    for (std::size_t i = 0; i < expected.transitions.size(); ++i)
      worst_transition =
          std::max(worst_transition, std::abs(transitions.gradient().data()[i] - expected.transitions[i]));
    CHECK(worst < 1e-11);
    CHECK(worst_transition < (by_step ? 1e-11 : 1e-7));
  }
}

TEST_CASE("chains: a hundred thousand steps with potentials of +-500 have finite and right gradients") {
  // The potentials of each step favour one state by up to 1000: marginals are those of steps apart, as transitions are
  // the same for all pairs of states.
  constexpr std::int64_t steps = 100000;
  Tensor<double> unary = empty_tensor<double>({1, steps, 2});
  for (std::int64_t i = 0; i < 2 * steps; ++i)
    unary.data()[i] = i % 7 == 0 ? 500 : i % 5 == 0 ? -500 : std::sin(i * .7);
  const Var<double> x(unary, true), transitions = Var<double>::filled({2, 2}, -500, true);
  const auto z = chain_log_partition<double>({x, transitions});
  double expected = -500.0 * (steps - 1);
  for (std::int64_t t = 0; t < steps; ++t) {
    const double a = unary.data()[2 * t], b = unary.data()[2 * t + 1];
    expected += std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
  }
  CHECK(z.item() == doctest::Approx(expected).epsilon(1e-12));
  sum(z).backward();
  double worst = 0;
  for (std::int64_t t = 0; t < steps; ++t) {
    const double a = unary.data()[2 * t], b = unary.data()[2 * t + 1];
    worst = std::max(worst, std::abs(x.gradient().data()[2 * t] - 1 / (1 + std::exp(b - a))));
  }
  CHECK(worst < 1e-9);
  double transitions_used = 0;
  for (const double g : transitions.gradient()) transitions_used += g;
  CHECK(transitions_used == doctest::Approx(steps - 1).epsilon(1e-10));
}
