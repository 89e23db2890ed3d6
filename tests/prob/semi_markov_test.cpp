#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/semi_markov.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::log_sum;
using testing_models::normal_numbers;
using testing_models::normal_variables;

namespace {

constexpr std::int64_t B = 4, N = 5, D = 3, K = 2;
const Indices lengths{5, 2, 0, 4};

SemiMarkovPotentials<double> chain_of(const std::vector<Var<double>>& x) {
  return {x[0], x[1], lengths};
}

struct Cut {
  double score;
  std::vector<std::int64_t> states, begins;
};
/// All segmentations of a sequence, by recursion.
void segmentations(const SemiMarkovPotentials<double>& p, std::int64_t b, std::int64_t t, Cut so_far,
                   std::vector<Cut>& out) {
  const std::int64_t length = (*p.lengths)[b];
  if (t == length) {
    out.push_back(std::move(so_far));
    return;
  }
  for (std::int64_t d = 0; d < D && t + d < length; ++d)
    for (std::int64_t k = 0; k < K; ++k) {
      Cut next = so_far;
      next.score += p.segments.data()[((b * N + t) * D + d) * K + k];
      if (t > 0) next.score += p.transitions.data()[next.states.back() * K + k];
      next.states.insert(next.states.end(), static_cast<std::size_t>(d + 1), k);
      next.begins.push_back(1);
      next.begins.insert(next.begins.end(), static_cast<std::size_t>(d), 0);
      segmentations(p, b, t + d + 1, std::move(next), out);
    }
}

}  // namespace

TEST_CASE("semi-Markov chains: log-partition, score and the best are what enumeration gives") {
  const auto p = chain_of(normal_variables({{B, N, D, K}, {K, K}}));
  const auto log_partition = semi_markov_log_partition(p);
  const auto best = semi_markov_viterbi(p);
  const auto best_score = semi_markov_score(p, best.segmentation);
  for (std::int64_t b = 0; b < B; ++b) {
    std::vector<Cut> all;
    segmentations(p, b, 0, {}, all);
    std::vector<double> scores;
    for (const auto& cut : all) scores.push_back(cut.score);
    CHECK(log_partition.data()[b] == doctest::Approx(log_sum(scores)).epsilon(1e-12));
    const auto winner = std::max_element(scores.begin(), scores.end());
    CHECK(best.score.data()[b] == doctest::Approx(*winner).epsilon(1e-12));
    CHECK(best_score.data()[b] == doctest::Approx(*winner).epsilon(1e-12));
    const auto& cut = all[static_cast<std::size_t>(winner - scores.begin())];
    for (std::int64_t t = 0; t < N; ++t) {
      const bool inside = t < lengths[b];
      CHECK(best.segmentation.states(static_cast<std::size_t>(b), static_cast<std::size_t>(t)) ==
            (inside ? cut.states[static_cast<std::size_t>(t)] : -1));
      CHECK(best.segmentation.begins(static_cast<std::size_t>(b), static_cast<std::size_t>(t)) ==
            (inside ? cut.begins[static_cast<std::size_t>(t)] : 0));
    }
  }
}

TEST_CASE("semi-Markov chains: derivatives to second order, and nothing behind a length has any") {
  const auto x = normal_variables({{B, N, D, K}, {K, K}});
  const Function<double> f = [](const auto& p) {
    const auto z = semi_markov_log_partition(chain_of(p));
    return sum(z * z);
  };
  CHECK_NOTHROW(check_gradients(f, x, {.order = 2, .directions = 2, .tolerance = 1e-5, .forward_mode = false}));
  const auto fused = grad(f(x), x), composed = grad(f(x), x, {.create_graph = true});
  for (std::size_t i = 0; i < 2; ++i)
    for (std::int64_t e = 0; e < x[i].size(); ++e)
      CHECK(fused[i].data()[e] == doctest::Approx(composed[i].data()[e]).epsilon(1e-10));
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t t = 0; t < N; ++t)
      for (std::int64_t d = 0; d < D; ++d)
        if (t + d >= lengths[b]) CHECK(fused[0].data()[((b * N + t) * D + d) * K] == 0);
  auto padded = x[0].tensor();
  for (std::int64_t d = 0; d < D * K; ++d)
    padded.data()[(N + 2) * D * K + d] = std::numeric_limits<double>::quiet_NaN();
  const auto masked = semi_markov_log_partition<double>({Var<double>(padded), x[1], lengths});
  const auto plain = semi_markov_log_partition(chain_of(x));
  for (std::int64_t b = 0; b < B; ++b) CHECK(masked.data()[b] == plain.data()[b]);
}

TEST_CASE("semi-Markov chains: segments of one step are a linear chain") {
  const auto x = normal_variables({{2, 6, 1, 3}, {3, 3}});
  const auto semi = semi_markov_log_partition<double>({x[0], x[1]});
  const auto linear = chain_log_partition<double>({reshape(x[0], Shape{2, 6, 3}), x[1]});
  for (std::int64_t b = 0; b < 2; ++b) CHECK(semi.data()[b] == doctest::Approx(linear.data()[b]).epsilon(1e-12));
}

TEST_CASE("semi-Markov chains: impossible segmentations, and bad input") {
  const double impossible = -std::numeric_limits<double>::infinity();
  auto x = normal_variables({{B, N, D, K}, {K, K}});
  for (std::int64_t d = 0; d < D * K; ++d) x[0].mutable_data()[N * D * K + d] = impossible;  // sequence 1, step 0
  const auto z = semi_markov_log_partition(chain_of(x));
  CHECK(z.data()[1] == impossible);
  CHECK(std::isfinite(z.data()[0]));
  sum(z).backward();
  for (const double g : x[0].gradient()) CHECK(std::isfinite(g));
  CHECK(semi_markov_viterbi(chain_of(x)).score.data()[1] == impossible);
  CHECK(semi_markov_viterbi(chain_of(x)).segmentation.states(1, 0) == -1);
  CHECK_THROWS_AS(semi_markov_log_partition<double>({x[1], x[1]}), ShapeError);
  CHECK_THROWS_AS(semi_markov_log_partition<double>({x[0], x[1], Indices{6, 0, 0, 0}}), IndexError);
  auto cut = semi_markov_viterbi<double>({Var<double>(normal_numbers({1, 4, 2, 2}, 1)), x[1]}).segmentation;
  const SemiMarkovPotentials<double> one{Var<double>(normal_numbers({1, 4, 2, 2}, 1)), x[1]};
  for (auto& state : cut.states) state = 0;
  cut.begins(0, 0) = 1;
  for (std::size_t t = 1; t < 4; ++t) cut.begins(0, t) = 0;
  CHECK_THROWS_AS(semi_markov_score(one, cut), IndexError);  // longer than 2 steps
  cut.begins(0, 2) = 1;
  CHECK_NOTHROW(semi_markov_score(one, cut));
  cut.states(0, 3) = 1;
  CHECK_THROWS_AS(semi_markov_score(one, cut), IndexError);
}

TEST_CASE("semi-Markov chains: marginals and entropy are what enumeration gives, with their derivatives") {
  const auto x = normal_variables({{B, N, D, K}, {K, K}});
  const auto p = chain_of(x);
  const auto m = semi_markov_marginals(p);
  const auto entropy = semi_markov_entropy(p);
  std::vector<double> segments(static_cast<std::size_t>(B * N * D * K), 0.), transitions(K * K, 0.),
      states(static_cast<std::size_t>(B * N * K), 0.);
  for (std::int64_t b = 0; b < B; ++b) {
    std::vector<Cut> all;
    segmentations(p, b, 0, {}, all);
    std::vector<double> scores;
    for (const auto& cut : all) scores.push_back(cut.score);
    const double total = log_sum(scores);
    double own = 0;
    for (const auto& cut : all) {
      const double probability = std::exp(cut.score - total);
      own -= probability * (cut.score - total);
      for (std::int64_t t = 0; t < lengths[b]; ++t) {
        const auto step = static_cast<std::size_t>(t);
        const std::int64_t k = cut.states[step];
        states[static_cast<std::size_t>((b * N + t) * K + k)] += probability;
        if (cut.begins[step] == 0) continue;
        std::int64_t end = t + 1;
        while (end < lengths[b] && cut.begins[static_cast<std::size_t>(end)] == 0) ++end;
        segments[static_cast<std::size_t>(((b * N + t) * D + end - t - 1) * K + k)] += probability;
        if (t > 0) transitions[static_cast<std::size_t>(cut.states[step - 1] * K + k)] += probability;
      }
    }
    CHECK(entropy.data()[b] == doctest::Approx(own).epsilon(1e-11));
  }
  for (std::size_t i = 0; i < segments.size(); ++i)
    CHECK(m.segments.data()[i] == doctest::Approx(segments[i]).epsilon(1e-11));
  for (std::size_t i = 0; i < transitions.size(); ++i)
    CHECK(m.transitions.data()[i] == doctest::Approx(transitions[i]).epsilon(1e-11));
  for (std::size_t i = 0; i < states.size(); ++i)
    CHECK(m.states.data()[i] == doctest::Approx(states[i]).epsilon(1e-11));
  CHECK_NOTHROW(check_gradients(
      [](const auto& v) {
        const auto found = semi_markov_marginals(chain_of(v));
        return sum(found.segments * found.segments) + sum(found.transitions * found.transitions) * .3 +
               sum(found.states * found.states) + sum(semi_markov_entropy(chain_of(v))) * .7;
      },
      x, {.order = 2, .forward_mode = false}));
}

TEST_CASE("semi-Markov chains: samples are as frequent as they are probable") {
  const auto p = chain_of(normal_variables({{B, N, D, K}, {K, K}}));
  constexpr std::int64_t count = 20000;
  Generator random(3);
  Tensor<double> uniforms = empty_tensor<double>({count, B, N});
  for (double& u : uniforms) u = random.uniform();
  const auto samples = semi_markov_sample(p, uniforms);
  for (std::int64_t b = 0; b < B; ++b) {
    std::vector<Cut> all;
    segmentations(p, b, 0, {}, all);
    std::vector<double> scores, seen(all.size(), 0.);
    for (const auto& cut : all) scores.push_back(cut.score);
    const double total = log_sum(scores);
    for (std::int64_t n = 0; n < count; ++n) {
      const std::int64_t *states = samples.states.data() + (n * B + b) * N,
                         *begins = samples.begins.data() + (n * B + b) * N;
      for (std::int64_t t = lengths[b]; t < N; ++t) REQUIRE((states[t] == -1 && begins[t] == 0));
      for (std::size_t i = 0; i < all.size(); ++i)
        if (std::equal(all[i].states.begin(), all[i].states.end(), states) &&
            std::equal(all[i].begins.begin(), all[i].begins.end(), begins))
          seen[i] += 1;
    }
    double squares = 0, drawn = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const double expected = count * std::exp(scores[i] - total);
      squares += (seen[i] - expected) * (seen[i] - expected) / expected;
      drawn += seen[i];
    }
    CHECK(drawn == count);
    // Chi-square: mean n - 1, variance 2 (n - 1).
    const double freedom = static_cast<double>(all.size()) - 1;
    CHECK(squares < freedom + 5 * std::sqrt(2 * freedom) + 1e-9);
  }
  CHECK_THROWS_AS(semi_markov_sample(p, empty_tensor<double>({2, B, N + 1})), ShapeError);
}

TEST_CASE("semi-Markov chains: nothing is probable where nothing is possible, and a batch may be empty") {
  const Var<double> none = Var<double>::filled({1, 3, 2, 2}, -std::numeric_limits<double>::infinity());
  const SemiMarkovPotentials<double> p{none, Var<double>::zeros({2, 2})};
  CHECK(sum(semi_markov_marginals(p).segments).item() == 0);
  CHECK(semi_markov_entropy(p).data()[0] == 0);
  Tensor<double> half = empty_tensor<double>({1, 1, 3});
  std::fill(half.begin(), half.end(), .5);
  CHECK(semi_markov_sample(p, half).states(0, 0, 0) == -1);
  const SemiMarkovPotentials<double> empty{Var<double>::zeros({0, 3, 2, 2}), Var<double>::zeros({2, 2})};
  CHECK(semi_markov_entropy(empty).shape() == Shape{0});
  CHECK(semi_markov_marginals(empty).states.shape() == Shape{0, 3, 2});
}
