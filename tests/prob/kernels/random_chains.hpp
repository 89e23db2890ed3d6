#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/prob/chain_engine.hpp>

namespace testing_chains {

using tapestry::detail::ChainEngine;
using tapestry::detail::ChainInput;
using tapestry::detail::ChainKernels;

inline constexpr double inf = std::numeric_limits<double>::infinity();

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
inline Results enumerate(const Chains<double>& c, const std::vector<double>& g) {
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

inline std::vector<double> weights(std::size_t n) {
  std::vector<double> g(n);
  for (std::size_t i = 0; i < n; ++i)
    g[i] = i % 5 == 4 ? 0.0 : (i % 2 == 0 ? 1.0 : -0.5) * (1 + 0.1 * static_cast<double>(i));
  return g;
}

}  // namespace testing_chains
