#include <tapestry/prob/chain.hpp>

#include <cmath>
#include <limits>
#include <random>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>

using namespace tapestry;

namespace {

Var<double> normal(const Shape& shape, unsigned seed) {
  std::mt19937_64 random(seed);
  Tensor<double> x = empty_tensor<double>(shape);
  for (double& v : x) v = std::normal_distribution<double>()(random);
  return variable(std::move(x));
}

std::vector<Var<double>> potentials(const Shape& transitions) {
  return {normal({3, 4, 2}, 1), normal(transitions, 2), normal({2}, 3), normal({2}, 4)};
}
ChainPotentials<double> chain(const std::vector<Var<double>>& x) {
  return {x[0], x[1], Indices{4, 0, 3}, x[2], x[3]};
}
const Shape layouts[] = {{2, 2}, {3, 2, 2}, {3, 3, 2, 2}};

}  // namespace

TEST_CASE("chain: derivatives of log-partition, marginals, entropy and score") {
  const Indices labels(IndexTensor{{0, 1, 1, 0}, {-1, -1, -1, -1}, {1, 0, 1, 7}});
  const auto w = normal({3}, 5);
  for (const Shape& layout : layouts) {
    const auto x = potentials(layout);
    const auto weighted = [&](auto f) {
      return [=](const std::vector<Var<double>>& v) { return sum(w * f(chain(v))); };
    };
    CheckGradientsOptions options;
    options.order = 2;
    options.forward_mode = false;
    CHECK_NOTHROW(check_gradients(weighted([](const auto& c) { return square(chain_log_partition(c)); }), x, options));
    CHECK_NOTHROW(check_gradients(
        weighted([&](const auto& c) { return square(chain_score(c, labels) - chain_log_partition(c)); }), x, options));
    CHECK_NOTHROW(
        check_gradients(weighted([&](const auto& c) { return chain_entropy(c); }), x, {.forward_mode = false}));
    CHECK_NOTHROW(check_gradients(weighted([](const auto& c) { return chain_log_partition(c); }), x));
    const auto wu = normal({3, 4, 2}, 6), wt = normal(layout, 7);
    CHECK_NOTHROW(check_gradients(
        [&](const std::vector<Var<double>>& v) {
          const auto m = chain_marginals(chain(v));
          return sum(wu * square(m.unary)) + sum(wt * m.transitions);
        },
        x, {.forward_mode = false}));
  }
}

TEST_CASE("chain: the entropy is that of log-partition, marginals and potentials") {
  for (const Shape& layout : layouts) {
    auto x = potentials(layout);
    const ChainPotentials<double> c{x[0], x[1], Indices{4, 0, 3}};
    const auto m = chain_marginals(c);
    const double total =
        sum(chain_log_partition(c)).item() - sum(m.unary * x[0]).item() - sum(m.transitions * x[1]).item();
    CHECK(sum(chain_entropy(c)).item() == doctest::Approx(total).epsilon(1e-12));
  }
}

TEST_CASE("chain: an infinite potential gives exact zeros and no NaN in any derivative") {
  auto x = potentials({2, 2});
  const double inf = std::numeric_limits<double>::infinity();
  x[1].mutable_data()[1] = -inf;
  x[0].mutable_data()[3] = -inf;
  const auto c = chain(x);
  const auto m = chain_marginals(c);
  (sum(square(m.unary)) + sum(square(m.transitions)) + sum(chain_entropy(c)) + sum(chain_log_partition(c))).backward();
  CHECK(m.transitions.data()[1] == 0);
  CHECK(m.unary.data()[3] == 0);
  for (const auto& v : x)
    for (const double g : v.gradient()) CHECK(std::isfinite(g));
  CHECK(x[1].gradient().data()[1] == 0);
}

TEST_CASE("chain: decoding agrees with score, and samples with the most likely path of a sharp chain") {
  auto x = potentials({3, 2, 2});
  const auto c = chain(x);
  const auto best = chain_viterbi(c);
  const auto several = chain_k_best(c, 3);
  const auto score = chain_score(c, Indices(best.states));
  for (int b = 0; b < 3; ++b) {
    CHECK(score.data()[b] == doctest::Approx(best.score(b)).epsilon(1e-12));
    CHECK(several.score(b, 0) == doctest::Approx(best.score(b)).epsilon(1e-12));
    for (int t = 0; t < 4; ++t) CHECK(several.states(b, 0, t) == best.states(b, t));
  }
  CHECK(several.score(1, 1) == -std::numeric_limits<double>::infinity());
  for (int k = 0; k < 3; ++k) {
    IndexTensor own{{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}};
    for (const int b : {0, 2})
      for (int t = 0; t < 4; ++t) own(b, t) = several.states(b, k, t);
    const auto scores = chain_score(c, Indices(own));
    for (const int b : {0, 2}) CHECK(scores.data()[b] == doctest::Approx(several.score(b, k)).epsilon(1e-12));
  }
  for (auto& v : x)
    for (auto& p : v.mutable_value()) p *= 1000;
  const auto samples = chain_sample(chain(x), Tensor<double>(xt::ones<double>({5, 3, 4}) * 0.37));
  for (int s = 0; s < 5; ++s)
    for (int b = 0; b < 3; ++b)
      for (int t = 0; t < 4; ++t) CHECK(samples(s, b, t) == best.states(b, t));
}

TEST_CASE("chain: bad input is refused") {
  auto x = potentials({2, 2});
  CHECK_THROWS_WITH_AS(chain_log_partition(ChainPotentials<double>{x[0], normal({3, 3}, 1)}),
                       "chain_log_partition: transitions [3, 3] do not fit unary potentials [3, 4, 2]: they must be "
                       "[K, K], [T - 1, K, K] or [B, T - 1, K, K]",
                       ShapeError);
  CHECK_THROWS_AS(chain_log_partition(ChainPotentials<double>{normal({4, 2}, 1), x[1]}), ShapeError);
  CHECK_THROWS_AS(chain_log_partition(ChainPotentials<double>{x[0], x[1], Indices{1, 2}}), ShapeError);
  CHECK_THROWS_AS(chain_log_partition(ChainPotentials<double>{x[0], x[1], Indices{1, 2, 5}}), IndexError);
  CHECK_THROWS_AS(chain_log_partition(ChainPotentials<double>{x[0], x[1], Indices{1, -2, 4}}), IndexError);
  CHECK_THROWS_AS(chain_log_partition(ChainPotentials<double>{x[0], x[1], std::nullopt, normal({3}, 1)}), ShapeError);
  CHECK_THROWS_AS(chain_score(chain(x), Indices(IndexTensor{{0, 1}, {0, 1}, {0, 1}})), ShapeError);
  CHECK_THROWS_AS(chain_score(chain(x), Indices(IndexTensor{{0, 1, 1, 2}, {0, 0, 0, 0}, {0, 0, 0, 0}})), IndexError);
  CHECK_THROWS_AS(chain_k_best(chain(x), 0), Error);
}
