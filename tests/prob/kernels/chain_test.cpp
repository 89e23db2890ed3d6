#include <tapestry/prob/chain_engine.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "instruction_sets.hpp"

using namespace tapestry;
using detail::ChainEngine;
using detail::ChainInput;
using detail::ChainKernels;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// A batch of chains with its memory. kind: 0 shared transitions, 1 per step, 2 per sequence and step, 3 per sequence.
template <class T>
struct Chains {
  std::size_t B, N, K;
  std::vector<T> unary, transitions, start, end;
  std::vector<std::int64_t> lengths;
  std::size_t batch_stride = 0, step_stride = 0;

  ChainInput<T> input() const {
    return {B,
            N,
            K,
            unary.data(),
            transitions.data(),
            batch_stride,
            step_stride,
            lengths.data(),
            start.empty() ? nullptr : start.data(),
            end.empty() ? nullptr : end.data()};
  }
  T matrix(std::size_t b, std::size_t t, std::size_t i, std::size_t j) const {
    return transitions[place(b, t) + i * K + j];
  }
  std::size_t place(std::size_t b, std::size_t t) const { return b * batch_stride + (t - 1) * step_stride; }
};

template <class T>
Chains<T> random_chains(std::size_t B, std::size_t N, std::size_t K, int kind, std::uint64_t seed, double scale = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Chains<T> c{B, N, K, {}, {}, {}, {}, {}, 0, 0};
  const auto fill = [&](std::vector<T>& v, std::size_t n) {
    v.resize(n);
    for (T& x : v) x = static_cast<T>(scale * normal(random));
  };
  c.step_stride = kind == 1 || kind == 2 ? K * K : 0;
  const std::size_t per_sequence = c.step_stride != 0 ? (N - 1) * K * K : K * K;
  c.batch_stride = kind >= 2 ? per_sequence : 0;
  fill(c.unary, B * N * K);
  fill(c.transitions, (kind >= 2 ? B : 1) * per_sequence);
  fill(c.start, K);
  fill(c.end, K);
  for (std::size_t b = 0; b < B; ++b) c.lengths.push_back(static_cast<std::int64_t>(b == 0 ? N : random() % (N + 1)));
  return c;
}

template <class To, class From>
Chains<To> convert(const Chains<From>& c) {
  const auto vector = [](const std::vector<From>& v) { return std::vector<To>(v.begin(), v.end()); };
  return {c.B,
          c.N,
          c.K,
          vector(c.unary),
          vector(c.transitions),
          vector(c.start),
          vector(c.end),
          c.lengths,
          c.batch_stride,
          c.step_stride};
}

struct Results {
  std::vector<double> log_partition, unary, transitions, entropy, best;
  std::vector<std::vector<double>> scores;  // of all assignments, falling
  std::vector<std::vector<int>> path;
};

/// By enumeration.
Results enumerate(const Chains<double>& c, const std::vector<double>& g) {
  Results r;
  r.unary.assign(c.unary.size(), 0);
  r.transitions.assign(c.transitions.size(), 0);
  for (std::size_t b = 0; b < c.B; ++b) {
    const auto n = static_cast<std::size_t>(c.lengths[b]);
    std::size_t count = 1;
    for (std::size_t t = 0; t < n; ++t) count *= c.K;
    std::vector<double> scores(count);
    std::vector<int> x(n), best_path;
    double best = -inf;
    const auto visit = [&](auto&& f) {
      for (std::size_t a = 0; a < count; ++a) {
        std::size_t rest = a;
        for (std::size_t t = 0; t < n; ++t, rest /= c.K) x[t] = static_cast<int>(rest % c.K);
        f(a);
      }
    };
    visit([&](std::size_t a) {
      double s = 0;
      for (std::size_t t = 0; t < n; ++t) {
        const auto k = static_cast<std::size_t>(x[t]);
        s += c.unary[(b * c.N + t) * c.K + k];
        if (t == 0 && !c.start.empty()) s += c.start[k];
        if (t + 1 == n && !c.end.empty()) s += c.end[k];
        if (t > 0) s += c.matrix(b, t, static_cast<std::size_t>(x[t - 1]), k);
      }
      scores[a] = s;
      if (s > best) {
        best = s;
        best_path = x;
      }
    });
    double z = 0;
    for (double s : scores) z += std::exp(s - (best == -inf ? 0 : best));
    r.log_partition.push_back(best + (best == -inf ? 0 : std::log(z)));
    double h = 0;
    if (best > -inf)
      visit([&](std::size_t a) {
        const double p = std::exp(scores[a] - r.log_partition[b]);
        if (p > 0) h -= p * std::log(p);
        for (std::size_t t = 0; t < n; ++t) {
          const auto k = static_cast<std::size_t>(x[t]);
          r.unary[(b * c.N + t) * c.K + k] += g[b] * p;
          if (t > 0) r.transitions[c.place(b, t) + static_cast<std::size_t>(x[t - 1]) * c.K + k] += g[b] * p;
        }
      });
    r.entropy.push_back(h);
    r.best.push_back(best);
    r.path.push_back(best_path);
    std::sort(scores.begin(), scores.end(), std::greater<>());
    r.scores.push_back(scores);
  }
  return r;
}

template <class T>
void check_close(const std::vector<T>& actual, const std::vector<double>& expected, double tolerance) {
  REQUIRE(actual.size() == expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double a = static_cast<double>(actual[i]);
    if (a == expected[i]) continue;
    const double error = std::abs(a - expected[i]) / std::max(1.0, std::abs(expected[i]));
    worst = error <= worst ? worst : error;  // NaN stays
    if (std::isnan(error)) worst = inf;
  }
  CHECK(worst <= tolerance);
}

template <class T>
struct Run {
  std::vector<T> log_partition, unary, transitions, entropy;
};

template <class T>
Run<T> run(const Chains<T>& c, const std::vector<double>& g, const ChainKernels<T>& kernels) {
  Run<T> r{std::vector<T>(c.B), std::vector<T>(c.unary.size()), std::vector<T>(c.transitions.size()),
           std::vector<T>(c.B)};
  ChainEngine<T> engine(kernels);
  engine.forward(c.input(), r.log_partition.data(), false);
  const auto transient = r.log_partition;
  engine.forward(c.input(), r.log_partition.data(), true);
  CHECK(transient == r.log_partition);
  const std::vector<T> gradient(g.begin(), g.end());
  engine.backward(gradient.data(), r.unary.data(), r.transitions.data());
  engine.entropy(r.entropy.data());
  return r;
}

std::vector<double> weights(std::size_t n) {
  std::vector<double> g(n);
  for (std::size_t i = 0; i < n; ++i)
    g[i] = i % 5 == 4 ? 0.0 : (i % 2 == 0 ? 1.0 : -0.5) * (1 + 0.1 * static_cast<double>(i));
  return g;
}

void check_all(const Chains<double>& c, double tolerance = 1e-12, double float_tolerance = 3e-5) {
  const auto g = weights(c.B);
  const auto expected = enumerate(c, g);
  for_each_instruction_set<ChainKernels<double>>([&](const ChainKernels<double>& kernels, const std::string& name) {
    CAPTURE(name);
    const auto r = run(c, g, kernels);
    check_close(r.log_partition, expected.log_partition, tolerance);
    check_close(r.unary, expected.unary, tolerance);
    check_close(r.transitions, expected.transitions, tolerance);
    check_close(r.entropy, expected.entropy, tolerance);
  });
  const auto f = convert<float>(c);
  const auto rounded = enumerate(convert<double>(f), g);
  for_each_instruction_set<ChainKernels<float>>([&](const ChainKernels<float>& kernels, const std::string& name) {
    CAPTURE(name);
    const auto r = run(f, g, kernels);
    check_close(r.log_partition, rounded.log_partition, float_tolerance);
    check_close(r.unary, rounded.unary, float_tolerance);
    check_close(r.transitions, rounded.transitions, float_tolerance);
    check_close(r.entropy, rounded.entropy, float_tolerance);
  });
}

}  // namespace

TEST_CASE("chain kernels: log-partition, marginals and entropy are those of enumeration") {
  for (int kind = 0; kind < 4; ++kind)
    for (const auto& size : {std::array<std::size_t, 3>{1, 1, 1},
                             {1, 5, 3},
                             {2, 4, 2},
                             {9, 3, 5},
                             {12, 2, 17},
                             {3, 2, 33},
                             {17, 6, 3},
                             {4, 3, 9},
                             {1, 3, 8}}) {
      CAPTURE(kind);
      const std::size_t B = size[0], N = size[1], K = size[2];
      CAPTURE(K);
      check_all(random_chains<double>(B, N, K, kind, 7 * K + B + static_cast<std::size_t>(kind)));
    }
}

TEST_CASE("chain kernels: forbidden transitions and states") {
  for (int kind = 0; kind < 4; ++kind)
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      CAPTURE(kind);
      CAPTURE(seed);
      auto c = random_chains<double>(9, 5, 4, kind, seed, seed % 2 == 0 ? 1 : 25);
      std::mt19937_64 random(seed);
      for (double& x : c.transitions)
        if (random() % 3 == 0) x = -inf;
      for (double& x : c.unary)
        if (random() % 5 == 0) x = -inf;
      c.start[1] = -inf;
      // One sequence without any possible assignment: at its first, or at a later step.
      for (std::size_t k = 0; k < 4; ++k) c.unary[2 * 5 * 4 + (seed % 3) * 4 + k] = -inf;
      check_all(c, 1e-11, 1e-4);
    }
}

TEST_CASE("chain kernels: a state far below the others that wins later is not lost") {
  for (const double depth : {50.0, 120.0, 500.0, 900.0}) {
    CAPTURE(depth);
    // Two components without a way between them: one starts `depth` lower and makes it up, in several ways.
    Chains<double> c{2, 4, 4, {}, {}, {}, {}, {4, 3}, 0, 0};
    c.transitions = {0, 0.3, -inf, -inf, 0.1, 0, -inf, -inf, -inf, -inf, 0.2, 0, -inf, -inf, 0, 0.5};
    for (int b = 0; b < 2; ++b)
      for (int t = 0; t < 4; ++t) {
        const double low = t == 0 ? -depth : t == 1 ? 1.6 * depth : -0.3 * depth;
        for (const double x : {0.0, 0.2, low, low + 0.1}) c.unary.push_back(x);
      }
    check_all(c, 1e-12, 1e-4);
    // The same through very wide, but finite, transitions.
    for (double& x : c.transitions) x = x == -inf ? -2 * depth : x;
    check_all(c, 1e-12, 1e-4);
  }
}

TEST_CASE("chain kernels: a padded batch gives what each sequence gives alone") {
  for (const double scale : {1.0, 60.0}) {
    auto c = random_chains<float>(13, 30, 11, 0, 3, scale);
    const auto g = weights(13);
    for (std::size_t b = 0; b < 13; ++b)
      for (std::size_t n = static_cast<std::size_t>(c.lengths[b]) * 11; n < 30 * 11; ++n)
        c.unary[b * 30 * 11 + n] = std::numeric_limits<float>::quiet_NaN();
    for_each_instruction_set<ChainKernels<float>>([&](const ChainKernels<float>& kernels, const std::string& name) {
      CAPTURE(name);
      const auto all = run(c, g, kernels);
      std::vector<double> transitions(c.transitions.size());
      for (std::size_t b = 0; b < 13; ++b) {
        auto one = c;
        one.B = 1;
        one.N = static_cast<std::size_t>(c.lengths[b]);
        one.lengths = {c.lengths[b]};
        one.unary.assign(c.unary.begin() + static_cast<std::ptrdiff_t>(b * 30 * 11),
                         c.unary.begin() + static_cast<std::ptrdiff_t>((b * 30 + one.N) * 11));
        const auto alone = run(one, {g[b]}, kernels);
        CHECK(alone.log_partition[0] == all.log_partition[b]);
        for (std::size_t n = 0; n < 30 * 11; ++n)
          CHECK(all.unary[b * 30 * 11 + n] == (n < one.N * 11 ? alone.unary[n] : 0.f));
        for (std::size_t n = 0; n < transitions.size(); ++n)
          transitions[n] += static_cast<double>(alone.transitions[n]);
      }
      check_close(all.transitions, transitions, 2e-6);
    });
  }
}

TEST_CASE("chain kernels: a hundred thousand steps with potentials of +-500") {
  const std::size_t N = 100000, K = 4;
  auto c = random_chains<double>(1, N, K, 0, 1);
  std::mt19937_64 random(5);
  for (double& x : c.unary) x = std::uniform_real_distribution<double>(-500, 500)(random);
  for (const bool hard : {false, true}) {
    if (hard)
      for (double& x : c.transitions) x = std::uniform_real_distribution<double>(-500, 500)(random);
    c.lengths = {static_cast<std::int64_t>(N)};
    const auto f = convert<float>(c);
    const auto d = convert<double>(f);
    const auto exact = run(d, {1.0}, detail::kernels<ChainKernels<double>>());
    const auto single = run(f, {1.0}, detail::kernels<ChainKernels<float>>());
    // The recursion in the log domain, in long double.
    std::vector<long double> alpha(K), next(K);
    long double total = 0;
    for (std::size_t t = 0; t < N; ++t) {
      long double high = -inf;
      for (std::size_t j = 0; j < K; ++j) {
        long double most = -inf, sum = 0;
        for (std::size_t i = 0; i < K && t > 0; ++i) most = std::max(most, alpha[i] + d.transitions[i * K + j]);
        for (std::size_t i = 0; i < K && t > 0; ++i) sum += std::exp(alpha[i] + d.transitions[i * K + j] - most);
        next[j] = d.unary[t * K + j] + (t == 0 ? d.start[j] : most + std::log(sum)) + (t + 1 == N ? d.end[j] : 0);
        high = std::max(high, next[j]);
      }
      total += high;
      for (std::size_t j = 0; j < K; ++j) alpha[j] = next[j] - high;
    }
    long double rest = 0;
    for (std::size_t j = 0; j < K; ++j) rest += std::exp(alpha[j]);
    total += std::log(rest);
    CHECK(std::abs(exact.log_partition[0] - static_cast<double>(total)) < 1e-12 * std::abs(static_cast<double>(total)));
    CHECK(single.log_partition[0] == doctest::Approx(exact.log_partition[0]).epsilon(1e-6));
    check_close(single.unary, exact.unary, 1e-4);
    double sum = 0;
    for (double x : exact.transitions) sum += x;
    CHECK(sum == doctest::Approx(static_cast<double>(N - 1)).epsilon(1e-12));
    for (std::size_t t = 0; t < N; t += 997) {
      double p = 0;
      for (std::size_t k = 0; k < K; ++k) p += exact.unary[t * K + k];
      CHECK(std::abs(p - 1) < 1e-13);
    }
  }
}

TEST_CASE("chain kernels: the curvature is the derivative of the marginals") {
  for (int kind = 0; kind < 4; ++kind)
    for (const double scale : {1.0, 200.0}) {
      CAPTURE(kind);
      CAPTURE(scale);
      auto c = random_chains<double>(6, 5, 4, kind, 11, 1);
      if (scale > 1) {
        // Wide enough for the log domain, but with competing paths left.
        for (std::size_t i = 0; i < c.transitions.size(); ++i) c.transitions[i] += i % 3 == 0 ? -2000 : 0;
      }
      const auto v = random_chains<double>(6, 5, 4, kind, 12);
      const auto g = weights(6);
      for_each_instruction_set<ChainKernels<double>>([&](const ChainKernels<double>& kernels, const std::string& name) {
        CAPTURE(name);
        ChainEngine<double> engine(kernels);
        std::vector<double> z(6), dz(6), du(c.unary.size()), dt(c.transitions.size());
        engine.forward(c.input(), z.data(), true);
        engine.curvature(g.data(), v.unary.data(), v.transitions.data(), dz.data(), du.data(), dt.data());
        const double h = 1e-4;
        std::vector<Run<double>> runs;
        for (const double step : {-2.0, -1.0, 1.0, 2.0}) {
          auto moved = c;
          for (std::size_t n = 0; n < c.unary.size(); ++n) moved.unary[n] += step * h * v.unary[n];
          for (std::size_t n = 0; n < c.transitions.size(); ++n) moved.transitions[n] += step * h * v.transitions[n];
          runs.push_back(run(moved, g, kernels));
        }
        const auto difference = [&](auto member) {
          std::vector<double> out((runs[0].*member).size());
          for (std::size_t n = 0; n < out.size(); ++n)
            out[n] =
                ((runs[0].*member)[n] - 8 * (runs[1].*member)[n] + 8 * (runs[2].*member)[n] - (runs[3].*member)[n]) /
                (12 * h);
          return out;
        };
        check_close(dz, difference(&Run<double>::log_partition), 2e-8);
        check_close(du, difference(&Run<double>::unary), 2e-9);
        check_close(dt, difference(&Run<double>::transitions), 2e-9);
      });
    }
}

TEST_CASE("chain kernels: best paths") {
  for (int kind = 0; kind < 4; ++kind) {
    auto c = random_chains<double>(7, 4, 3, kind, 21);
    for (std::size_t k = 0; k < 3; ++k) c.unary[2 * 12 + k] = -inf;
    c.lengths[2] = 4;
    c.transitions[1] = -inf;
    const auto expected = enumerate(c, weights(7));
    for_each_instruction_set<ChainKernels<double>>([&](const ChainKernels<double>& kernels, const std::string& name) {
      CAPTURE(name);
      const ChainEngine<double> engine(kernels);
      std::vector<std::int64_t> path(7 * 4), paths(7 * 100 * 4);
      std::vector<double> score(7), scores(7 * 100);
      engine.best(c.input(), path.data(), score.data());
      engine.best_k(c.input(), 100, paths.data(), scores.data());
      check_close(score, expected.best, 1e-12);
      for (std::size_t b = 0; b < 7; ++b) {
        for (std::size_t t = 0; t < 4; ++t) {
          const bool inside = t < static_cast<std::size_t>(c.lengths[b]) && expected.best[b] > -inf;
          CHECK(path[b * 4 + t] == (inside ? expected.path[b][t] : -1));
          CHECK(paths[b * 400 + t] == path[b * 4 + t]);
        }
        for (std::size_t n = 0; n < 100; ++n) {
          const double wanted = n < expected.scores[b].size() ? expected.scores[b][n] : -inf;
          CHECK((scores[b * 100 + n] == wanted || std::abs(scores[b * 100 + n] - wanted) < 1e-12));
        }
      }
    });
  }
}

TEST_CASE("chain kernels: samples have the marginals") {
  for (const double gap : {0.0, 3000.0}) {
    auto c = random_chains<float>(3, 4, 3, 0, 31);
    c.transitions[1] -= static_cast<float>(gap);
    c.transitions[5] -= static_cast<float>(gap);
    const std::size_t S = 40000;
    std::mt19937_64 random(1);
    std::vector<float> uniforms(S * 12);
    for (float& u : uniforms) u = static_cast<float>(random() >> 40) * 0x1p-24f;
    ChainEngine<float> engine;
    std::vector<float> z(3), p(36), t(9), g(3, 1.f);
    std::vector<std::int64_t> paths(S * 12);
    engine.forward(c.input(), z.data(), true);
    engine.backward(g.data(), p.data(), t.data());
    engine.sample(uniforms.data(), S, paths.data());
    std::vector<double> frequency(36), pairs(9);
    int wrong = 0;
    for (std::size_t s = 0; s < S; ++s)
      for (std::size_t n = 0; n < 12; ++n) {
        const std::int64_t k = paths[s * 12 + n];
        wrong += (k == -1) != (n % 4 >= static_cast<std::size_t>(c.lengths[n / 4]));
        if (k >= 0) frequency[n * 3 + static_cast<std::size_t>(k)] += 1.0 / S;
        if (k >= 0 && n % 4 > 0) pairs[static_cast<std::size_t>(paths[s * 12 + n - 1] * 3 + k)] += 1.0 / S;
      }
    CHECK(wrong == 0);
    check_close(p, frequency, 0.012);
    check_close(t, pairs, 0.03);
  }
}
