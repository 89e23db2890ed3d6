#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::garbage;
using testing_models::index_tensor;
using testing_models::normal_numbers;
using testing_models::normal_variables;

namespace {

constexpr std::int64_t B = 5, N = 7, K = 3;
const Indices lengths{7, 1, 0, 4, 6};

/// Sequence b alone, of its own length, on the same leaves.
ChainPotentials<double> alone(const std::vector<Var<double>>& x, std::int64_t b) {
  const std::int64_t n = lengths[b], steps = std::max<std::int64_t>(n, 1) - 1;
  Var<double> transitions = x[1];
  if (transitions.rank() == 4) transitions = slice(slice(transitions, 0, {b, b + 1}), 1, {0, steps});
  if (transitions.rank() == 3) transitions = slice(transitions, 0, {0, steps});
  return {slice(slice(x[0], 0, {b, b + 1}), 1, {0, n}), transitions, std::nullopt, x[2], x[3]};
}

Indices lengths_of(const ChainPotentials<double>& c) {
  IndexTensor out = empty_tensor<std::int64_t>({c.unary.extent(0)});
  std::fill(out.begin(), out.end(), c.unary.extent(1));
  return Indices(std::move(out));
}

using Quantity = std::function<Var<double>(const ChainPotentials<double>&, std::int64_t first, std::int64_t count)>;

/// Each quantity as one number for each sequence, weighted so that all its elements matter.
std::vector<std::pair<std::string, Quantity>> quantities() {
  std::vector<std::int64_t> states;
  for (std::int64_t i = 0; i < B * N; ++i) states.push_back(i * 5 % K);
  const auto labels = [states](std::int64_t first, std::int64_t count, std::int64_t steps) {
    IndexTensor out = empty_tensor<std::int64_t>({count, steps});
    for (std::int64_t b = 0; b < count; ++b)
      for (std::int64_t t = 0; t < steps; ++t)
        out.data()[b * steps + t] = states[static_cast<std::size_t>((first + b) * N + t)];
    return Indices(std::move(out));
  };
  const auto weights = normal_numbers({B, N, K}, 11), pair_weights = normal_numbers({N - 1, K, K}, 12);
  std::vector<std::pair<std::string, Quantity>> out;
  out.emplace_back("log-partition", [](const auto& c, auto, auto) { return sum(chain_log_partition(c)); });
  out.emplace_back("entropy", [](const auto& c, auto, auto) { return sum(chain_entropy(c)); });
  out.emplace_back("score", [labels](const auto& c, auto first, auto count) {
    return sum(chain_score(c, labels(first, count, c.unary.extent(1))));
  });
  for (int kind = 0; kind <= static_cast<int>(LossKind::perceptron); ++kind)
    out.emplace_back("loss " + std::to_string(kind), [labels, kind](const auto& c, auto first, auto count) {
      return sum(structured_loss(c, labels(first, count, c.unary.extent(1)), {static_cast<LossKind>(kind), .8}));
    });
  out.emplace_back("unary marginals", [weights](const auto& c, auto first, auto count) {
    const std::int64_t n = c.unary.extent(1);
    Tensor<double> w = empty_tensor<double>({count, n, K});
    for (std::int64_t b = 0; b < count; ++b)
      for (std::int64_t i = 0; i < n * K; ++i) w.data()[b * n * K + i] = weights.data()[(first + b) * N * K + i];
    return sum(Var<double>(std::move(w)) * chain_marginals(c).unary);
  });
  out.emplace_back("transition marginals", [pair_weights](const auto& c, auto, auto) {
    const auto m = chain_marginals(c).transitions;
    Tensor<double> w = empty_tensor<double>(m.shape());
    for (std::int64_t i = 0; i < m.size(); ++i) w.data()[i] = pair_weights.data()[i % ((N - 1) * K * K)];
    return sum(Var<double>(std::move(w)) * m);
  });
  // From chains whose potentials do not depend on the place: -H(p) - E_p[score of q] + log-partition of q.
  out.emplace_back("divergence", [](const auto& c, auto, auto) {
    const Tensor<double> other = normal_numbers({K}, 13), step = normal_numbers({K, K}, 14);
    const auto m = chain_marginals(c);
    const Var<double> q(other), r(step), zero = Var<double>::zeros({K});
    const auto z = chain_log_partition<double>(
        {broadcast_to(q, c.unary.shape()), r, c.lengths.value_or(lengths_of(c)), zero, zero});
    return sum(z) - sum(chain_entropy(c)) - sum(m.unary * q) - sum(m.transitions * r);
  });
  return out;
}

/// What is behind the lengths is never read.
void spoil(Var<double>& unary) {
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t i = lengths[b] * K; i < N * K; ++i) unary.mutable_data()[b * N * K + i] = garbage(i);
}
void spoil_transitions(Var<double>& x) {
  if (x.rank() != 4) return;
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t i = (std::max<std::int64_t>(lengths[b], 1) - 1) * K * K; i < (N - 1) * K * K; ++i)
      x.mutable_data()[b * (N - 1) * K * K + i] = garbage(i);
}

}  // namespace

TEST_CASE("chains: every quantity and its gradient of a padded batch is that of each sequence alone") {
  for (const Shape& transitions : {Shape{K, K}, Shape{N - 1, K, K}, Shape{B, N - 1, K, K}})
    for (const auto& [name, quantity] : quantities()) {
      const std::string title = name;
      CAPTURE(title);
      CAPTURE(transitions.rank());
      auto padded = normal_variables({{B, N, K}, transitions, {K}, {K}});
      const auto single = normal_variables({{B, N, K}, transitions, {K}, {K}});
      spoil(padded[0]);
      spoil_transitions(padded[1]);
      const auto whole = quantity({padded[0], padded[1], lengths, padded[2], padded[3]}, 0, B);
      whole.backward();
      double expected = 0;
      for (std::int64_t b = 0; b < B; ++b) {
        const auto own = quantity(alone(single, b), b, 1);
        expected += own.item();
        if (own.requires_grad()) own.backward();
      }
      CHECK(std::abs(whole.item() - expected) < 1e-11);
      for (std::size_t i = 0; i < padded.size(); ++i)
        for (std::int64_t e = 0; e < padded[i].size(); ++e)
          CHECK(std::abs(padded[i].gradient().data()[e] - single[i].gradient().data()[e]) < 1e-11);
    }
}

TEST_CASE("chains: a batch in another order gives the same in that order, gradients too") {
  const std::vector<std::int64_t> order = {3, 0, 4, 2, 1};
  const Indices moved_lengths{lengths[3], lengths[0], lengths[4], lengths[2], lengths[1]};
  for (const Shape& transitions : {Shape{K, K}, Shape{B, N - 1, K, K}}) {
    auto x = normal_variables({{B, N, K}, transitions, {K}, {K}});
    spoil(x[0]);
    spoil_transitions(x[1]);
    const auto reordered = [&](const Var<double>& from, bool by_sequence) {
      Tensor<double> out = empty_tensor<double>(from.shape());
      const std::int64_t each = from.size() / (by_sequence ? B : 1);
      for (std::int64_t b = 0; b < (by_sequence ? B : 1); ++b)
        std::copy_n(from.data() + (by_sequence ? order[static_cast<std::size_t>(b)] : 0) * each, each,
                    out.data() + b * each);
      return Var<double>(std::move(out), true);
    };
    const bool own = transitions.rank() == 4;
    const std::vector<Var<double>> y = {reordered(x[0], true), reordered(x[1], own), x[2], x[3]};
    const auto outputs = [](const std::vector<Var<double>>& v, const Indices& n) {
      const ChainPotentials<double> c{v[0], v[1], n, v[2], v[3]};
      return std::vector<Var<double>>{chain_log_partition(c), chain_entropy(c), chain_marginals(c).unary};
    };
    const auto before = outputs(x, lengths), after = outputs(y, moved_lengths);
    for (std::size_t i = 0; i < before.size(); ++i) {
      const auto expected = reordered(before[i], true);
      for (std::int64_t e = 0; e < expected.size(); ++e)
        CHECK(std::abs(after[i].data()[e] - expected.data()[e]) < 1e-12);
      const auto weights = normal_variables({before[i].shape()});
      sum(before[i] * weights[0]).backward();
      sum(after[i] * reordered(weights[0], true)).backward();
    }
    const auto unary = reordered(Var<double>(x[0].gradient()), true),
               matrix = reordered(Var<double>(x[1].gradient()), own);
    for (std::int64_t e = 0; e < unary.size(); ++e)
      CHECK(std::abs(y[0].gradient().data()[e] - unary.data()[e]) < 1e-11);
    for (std::int64_t e = 0; e < matrix.size(); ++e)
      CHECK(std::abs(y[1].gradient().data()[e] - matrix.data()[e]) < 1e-11);
  }
}

TEST_CASE("chains: decoding and samples of a padded batch are those of each sequence alone") {
  for (const Shape& transitions : {Shape{K, K}, Shape{N - 1, K, K}, Shape{B, N - 1, K, K}}) {
    const auto x = normal_variables({{B, N, K}, transitions, {K}, {K}});
    auto spoilt = normal_variables({{B, N, K}, transitions, {K}, {K}});
    spoil(spoilt[0]);
    spoil_transitions(spoilt[1]);
    const ChainPotentials<double> padded{spoilt[0], spoilt[1], lengths, spoilt[2], spoilt[3]};
    Tensor<double> uniforms = empty_tensor<double>({2, B, N});
    for (std::int64_t i = 0; i < 2 * B * N; ++i) uniforms.data()[i] = std::fmod(.37 * static_cast<double>(i + 1), 1.0);
    const auto best = chain_viterbi(padded);
    const auto several = chain_k_best(padded, 3);
    const auto samples = chain_sample(padded, uniforms);
    for (std::int64_t b = 0; b < B; ++b) {
      const std::int64_t n = lengths[b];
      const auto own = chain_viterbi(alone(x, b));
      const auto own_several = chain_k_best(alone(x, b), 3);
      Tensor<double> own_uniforms = empty_tensor<double>({2, 1, n});
      for (std::int64_t s = 0; s < 2; ++s)
        for (std::int64_t t = 0; t < n; ++t) own_uniforms.data()[s * n + t] = uniforms.data()[(s * B + b) * N + t];
      const auto own_samples = chain_sample(alone(x, b), own_uniforms);
      CHECK(best.score.data()[b] == doctest::Approx(own.score.data()[0]).epsilon(1e-12));
      for (std::int64_t k = 0; k < 3; ++k) {
        const double score = several.score.data()[b * 3 + k], alone_score = own_several.score.data()[k];
        CHECK((score == alone_score || std::abs(score - alone_score) < 1e-12));
      }
      for (std::int64_t t = 0; t < N; ++t) {
        CHECK(best.states.data()[b * N + t] == (t < n ? own.states.data()[t] : -1));
        for (std::int64_t k = 0; k < 3; ++k)
          CHECK(several.states.data()[(b * 3 + k) * N + t] == (t < n ? own_several.states.data()[k * n + t] : -1));
        for (std::int64_t s = 0; s < 2 && t < n; ++s)
          CHECK(samples.data()[(s * B + b) * N + t] == own_samples.data()[s * n + t]);
      }
    }
  }
}
