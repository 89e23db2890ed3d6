#include <tapestry/prob/chain_engine.hpp>

#include <doctest/doctest.h>

#include "instruction_sets.hpp"
#include "random_chains.hpp"

using namespace tapestry;
using namespace testing_chains;

namespace {

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
