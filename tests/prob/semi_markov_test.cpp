#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
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
