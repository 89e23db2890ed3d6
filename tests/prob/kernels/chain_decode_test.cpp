#include <tapestry/prob/chain_engine.hpp>

#include <doctest/doctest.h>

#include "instruction_sets.hpp"
#include "random_chains.hpp"

using namespace tapestry;
using namespace testing_chains;

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
