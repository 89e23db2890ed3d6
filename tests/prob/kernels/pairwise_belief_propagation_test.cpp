#include <tapestry/prob/pairwise_engine.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/prob/grid_engine.hpp>

#include "finite_differences.hpp"
#include "instruction_sets.hpp"

using namespace tapestry;
using detail::PairwiseBeliefPropagationEngine;
using detail::PairwiseBeliefPropagationKernels;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

struct Problem {
  std::size_t variables, states;
  std::vector<std::int64_t> first, second, index;  // an empty index: a potential for each factor
  std::vector<double> unary, potentials;
  int iterations;
  double damping;

  std::size_t factors() const { return first.size(); }
  std::size_t potential_of(std::size_t f) const { return index.empty() ? f : static_cast<std::size_t>(index[f]); }
  std::size_t count() const { return potentials.size() / (states * states); }
  const std::int64_t* indices() const { return index.empty() ? nullptr : index.data(); }
};

Problem random_problem(std::size_t variables, std::size_t states, std::size_t factors, bool shared, int iterations,
                       double damping, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Problem p{variables, states, {}, {}, {}, {}, {}, iterations, damping};
  for (std::size_t f = 0; f < factors; ++f) {
    const auto i = static_cast<std::int64_t>(random() % variables);
    auto j = static_cast<std::int64_t>(random() % (variables - 1));
    j += j >= i;
    p.first.push_back(i);
    p.second.push_back(j);
    if (shared) p.index.push_back(static_cast<std::int64_t>(random() % 2));
  }
  for (std::size_t n = 0; n < variables * states; ++n) p.unary.push_back(normal(random));
  for (std::size_t n = 0; n < (shared ? 2 : factors) * states * states; ++n) p.potentials.push_back(normal(random));
  return p;
}

double log_sum_exp(const std::vector<double>& x) {
  const double most = *std::max_element(x.begin(), x.end());
  if (most == -inf) return most;
  double sum = 0;
  for (const double v : x) sum += std::exp(v - most);
  return most + std::log(sum);
}

/// The same iterations, one message at a time, in the log domain; sums without the reverse message, not differences.
std::vector<double> composed(const Problem& p) {
  const std::size_t K = p.states, F = p.factors();
  std::vector<std::vector<double>> m(2 * F, std::vector<double>(K, -std::log(static_cast<double>(K))));
  const auto variable = [&](std::size_t f, std::size_t end) {
    return static_cast<std::size_t>(end == 0 ? p.first[f] : p.second[f]);
  };
  // What arrives at v; message 2 f + d goes to second (0) or first (1).
  const auto belief = [&](std::size_t v, std::size_t without) {
    std::vector<double> b(p.unary.begin() + static_cast<std::ptrdiff_t>(v * K),
                          p.unary.begin() + static_cast<std::ptrdiff_t>((v + 1) * K));
    for (std::size_t f = 0; f < F; ++f)
      for (std::size_t d = 0; d < 2; ++d)
        if (variable(f, 1 - d) == v && 2 * f + d != without)
          for (std::size_t k = 0; k < K; ++k) b[k] += m[2 * f + d][k];
    return b;
  };
  for (int n = 0; n < p.iterations; ++n) {
    auto next = m;
    for (std::size_t f = 0; f < F; ++f)
      for (std::size_t d = 0; d < 2; ++d) {
        const auto cavity = belief(variable(f, d), 2 * f + 1 - d);
        const double* potential = p.potentials.data() + p.potential_of(f) * K * K;
        std::vector<double> out(K), terms(K);
        for (std::size_t o = 0; o < K; ++o) {
          for (std::size_t i = 0; i < K; ++i)
            terms[i] = cavity[i] + (d == 0 ? potential[i * K + o] : potential[o * K + i]);
          out[o] = log_sum_exp(terms);
        }
        const double total = log_sum_exp(out);
        for (std::size_t o = 0; o < K; ++o)
          next[2 * f + d][o] =
              p.damping == 0
                  ? out[o] - total
                  : std::log((1 - p.damping) * std::exp(out[o] - total) + p.damping * std::exp(m[2 * f + d][o]));
      }
    m = next;
  }
  std::vector<double> out;
  for (std::size_t v = 0; v < p.variables; ++v) {
    auto b = belief(v, 2 * F);
    const double total = log_sum_exp(b);
    for (const double x : b) out.push_back(x - total);
  }
  return out;
}

template <class T>
struct Run {
  std::vector<T> log_marginals, unary, potentials;
};

/// The kernels for probabilities of the same instruction set.
template <class T>
const detail::PairwiseProbabilityKernels<T>* probabilities_beside(const PairwiseBeliefPropagationKernels<T>& kernels) {
  const detail::PairwiseProbabilityKernels<T>* out = nullptr;
  std::vector<std::pair<const void*, std::string>> names;
  for_each_instruction_set<PairwiseBeliefPropagationKernels<T>>(
      [&](const auto& k, const std::string& name) { names.emplace_back(&k, name); });
  for_each_instruction_set<detail::PairwiseProbabilityKernels<T>>([&](const auto& k, const std::string& name) {
    for (const auto& [table, wanted] : names)
      if (table == &kernels && wanted == name) out = &k;
  });
  return out;
}

template <class T>
Run<T> run(const Problem& p, const PairwiseBeliefPropagationKernels<T>& kernels, bool in_logarithms = false) {
  const auto convert = [](const std::vector<double>& v) { return std::vector<T>(v.begin(), v.end()); };
  const auto u = convert(p.unary), t = convert(p.potentials), w = convert(random_weights(u.size()));
  Run<T> r{std::vector<T>(u.size()), std::vector<T>(u.size()), std::vector<T>(t.size())};
  const auto wiring =
      std::make_shared<const detail::PairwiseWiring>(p.variables, p.factors(), p.first.data(), p.second.data());
  detail::PairwiseRun<T> passing(PairwiseBeliefPropagationEngine<T>(
      wiring, p.states, kernels, in_logarithms ? nullptr : probabilities_beside(kernels)));
  const detail::PairwiseInput<T> in{u.data(), t.data(), p.indices()};
  const T damping = static_cast<T>(p.damping);
  passing.forward(in, p.iterations, damping, r.log_marginals.data(), false);
  const auto transient = r.log_marginals;
  passing.forward(in, p.iterations, damping, r.log_marginals.data(), true);
  CHECK(transient == r.log_marginals);
  passing.backward(in, r.log_marginals.data(), w.data(), p.count(), r.unary.data(), r.potentials.data());
  return r;
}

void check_all(Problem& p, double float_tolerance = 2e-5) {
  const auto expected = composed(p);
  const auto unary = differences(p.unary, [&] { return composed(p); }),
             potentials = differences(p.potentials, [&] { return composed(p); });
  for_each_instruction_set<PairwiseBeliefPropagationKernels<double>>([&](const auto& kernels, const std::string& name) {
    CAPTURE(name);
    const auto r = run(p, kernels);
    CHECK(worst(r.log_marginals, expected) < 1e-12);
    CHECK(worst(r.unary, unary) < 5e-7);
    CHECK(worst(r.potentials, potentials) < 5e-7);
    const auto logarithms = run(p, kernels, true);
    CHECK(worst(logarithms.log_marginals, r.log_marginals) < 1e-12);
    CHECK(worst(logarithms.unary, r.unary) < 1e-11);
    CHECK(worst(logarithms.potentials, r.potentials) < 1e-11);
  });
  const auto exact = run(p, detail::kernels<PairwiseBeliefPropagationKernels<double>>());
  for_each_instruction_set<PairwiseBeliefPropagationKernels<float>>([&](const auto& kernels, const std::string& name) {
    CAPTURE(name);
    const auto r = run(p, kernels);
    CHECK(worst(r.log_marginals, exact.log_marginals) < float_tolerance);
    CHECK(worst(r.unary, exact.unary) < float_tolerance);
    CHECK(worst(r.potentials, exact.potentials) < float_tolerance);
    const auto logarithms = run(p, kernels, true);
    CHECK(worst(logarithms.log_marginals, exact.log_marginals) < float_tolerance);
    CHECK(worst(logarithms.unary, exact.unary) < float_tolerance);
    CHECK(worst(logarithms.potentials, exact.potentials) < float_tolerance);
  });
}

}  // namespace

TEST_CASE("pairwise belief propagation: equal to the composed iterations, with their gradient") {
  for (const bool shared : {false, true})
    for (const double damping : {0.0, 0.4})
      for (const std::size_t states : {1, 2, 3, 4, 5}) {
        CAPTURE(shared);
        CAPTURE(damping);
        CAPTURE(states);
        auto p = random_problem(5, states, shared ? 19 : 8, shared, 3, damping, static_cast<unsigned>(states));
        check_all(p);
      }
  auto none = random_problem(3, 2, 0, false, 2, 0, 1);
  check_all(none);
}

TEST_CASE("pairwise belief propagation: forbidden states and wide potentials") {
  for (unsigned seed = 0; seed < 6; ++seed) {
    CAPTURE(seed);
    auto p = random_problem(6, 3, 8, false, 3, seed % 3 == 2 ? 0.3 : 0, seed);
    std::mt19937_64 random(seed);
    p.unary[4] = -inf;
    for (double& x : p.potentials) x = random() % 5 == 0 ? (seed % 2 == 0 ? -inf : x - 200) : x;
    // State 0 is always possible.
    for (std::size_t f = 0; f < 8; ++f) p.potentials[f * 9] = 0.1;
    check_all(p, 2e-4);
  }
  // A contradiction is minus infinity, not NaN.
  Problem p{2, 2, {0}, {1}, {}, {-inf, -inf, 0, 0}, {0, 0, 0, 0}, 2, 0};
  const auto r = run(p, detail::kernels<PairwiseBeliefPropagationKernels<float>>());
  for (const auto& values : {r.log_marginals, r.unary, r.potentials})
    for (const float x : values) CHECK_FALSE(std::isnan(x));
  CHECK(r.log_marginals[0] == -std::numeric_limits<float>::infinity());
}

TEST_CASE("pairwise belief propagation: a variable with very many neighbours") {
  Problem p{3001, 3, {}, {}, {}, {}, {}, 2, 0};
  std::mt19937_64 random(1);
  for (int f = 0; f < 3000; ++f) {
    p.first.push_back(f % 2 == 0 ? 0 : f + 1);
    p.second.push_back(f % 2 == 0 ? f + 1 : 0);
    p.index.push_back(0);
  }
  p.potentials = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  for (std::size_t n = 0; n < 9003; ++n) p.unary.push_back(std::normal_distribution<double>()(random) * 0.1);
  const auto exact = run(p, detail::kernels<PairwiseBeliefPropagationKernels<double>>());
  const auto single = run(p, detail::kernels<PairwiseBeliefPropagationKernels<float>>());
  CHECK(worst(single.log_marginals, exact.log_marginals) < 3e-3);
  CHECK(std::isfinite(single.unary[0]));
  // Exact on a star: the centre's belief is the product of the leaves' sums.
  double belief[3];
  for (std::size_t k = 0; k < 3; ++k) {
    belief[k] = p.unary[k];
    for (std::size_t v = 1; v <= 3000; ++v)
      belief[k] +=
          log_sum_exp({p.unary[v * 3] + (k == 0), p.unary[v * 3 + 1] + (k == 1), p.unary[v * 3 + 2] + (k == 2)});
  }
  const double total = log_sum_exp({belief[0], belief[1], belief[2]});
  for (std::size_t k = 0; k < 3; ++k)
    CHECK(exact.log_marginals[k] == doctest::Approx(belief[k] - total).epsilon(1e-10));
}

TEST_CASE("pairwise belief propagation: equal to the grid kernels on a grid") {
  const std::size_t H = 5, W = 19, K = 4;
  Problem p = random_problem(H * W, K, 0, true, 10, 0.1, 3);
  for (std::size_t y = 0; y < H; ++y)
    for (std::size_t x = 0; x < W; ++x)
      for (std::size_t axis = 0; axis < 2; ++axis) {
        if (axis == 0 ? x + 1 == W : y + 1 == H) continue;
        p.first.push_back(static_cast<std::int64_t>(y * W + x));
        p.second.push_back(static_cast<std::int64_t>(axis == 0 ? y * W + x + 1 : (y + 1) * W + x));
        p.index.push_back(static_cast<std::int64_t>(axis));
      }
  const auto general = run(p, detail::kernels<PairwiseBeliefPropagationKernels<double>>());
  detail::GridBeliefPropagationEngine<double> engine;
  std::vector<double> log_marginals(p.unary.size()), unary(p.unary.size()), horizontal(K * K), vertical(K * K);
  engine.forward({H, W, K, W * K, K, 1}, p.unary.data(), p.potentials.data(), p.potentials.data() + K * K, 10, 0.1,
                 log_marginals.data(), true);
  engine.backward(random_weights(p.unary.size()).data(), unary.data(), horizontal.data(), vertical.data());
  CHECK(worst(general.log_marginals, log_marginals) < 1e-12);
  CHECK(worst(general.unary, unary) < 1e-11);
  horizontal.insert(horizontal.end(), vertical.begin(), vertical.end());
  CHECK(worst(general.potentials, horizontal) < 1e-11);
}

// run() checks that an iteration in place, tile by tile, gives the same bits as one between two sets of messages.
TEST_CASE("pairwise belief propagation: in place on graphs of many tiles, near and far") {
  for (const std::size_t states : {2, 4, 5})
    for (const bool far : {false, true}) {
      CAPTURE(states);
      CAPTURE(far);
      const std::size_t side = 72;
      Problem p = random_problem(side * side, states, far ? 900 : 0, true, 3, far ? 0.25 : 0, 5);
      for (std::size_t axis = 0; axis < 2; ++axis)
        for (std::size_t v = 0; v < side * side; ++v) {
          if (axis == 0 ? v % side + 1 == side : v + side >= side * side) continue;
          p.first.push_back(static_cast<std::int64_t>(v));
          p.second.push_back(static_cast<std::int64_t>(axis == 0 ? v + 1 : v + side));
          p.index.push_back(static_cast<std::int64_t>(axis));
        }
      const auto exact = run(p, detail::kernels<PairwiseBeliefPropagationKernels<double>>());
      for_each_instruction_set<PairwiseBeliefPropagationKernels<float>>(
          [&](const auto& kernels, const std::string& name) {
            CAPTURE(name);
            CHECK(worst(run(p, kernels).log_marginals, exact.log_marginals) < 2e-5);
          });
    }
}

TEST_CASE("pairwise belief propagation: in place the residual is that of two sets of messages") {
  const Problem p = random_problem(3000, 4, 4007, true, 1, 0.2, 9);
  const auto wiring =
      std::make_shared<const detail::PairwiseWiring>(p.variables, p.factors(), p.first.data(), p.second.data());
  PairwiseBeliefPropagationEngine<double> engine(wiring, p.states);
  engine.prepare({p.unary.data(), p.potentials.data(), p.indices()}, p.damping);
  REQUIRE(engine.in_probabilities());
  detail::PairwiseMessages<double> from, to, at;
  engine.start(from);
  engine.start(at);
  for (int n = 0; n < 4; ++n) {
    engine.step({p.unary.data(), p.potentials.data(), p.indices()}, from, to);
    CHECK(engine.renew(at) == engine.change(from, to));
    std::swap(from, to);
  }
}
