#include <tapestry/prob/grid_engine.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "finite_differences.hpp"
#include "instruction_sets.hpp"

using namespace tapestry;
using detail::GridBeliefPropagationEngine;
using detail::GridBeliefPropagationKernels;
using detail::GridShape;

namespace {

GridShape grid_of(std::size_t height, std::size_t width, std::size_t states, bool states_last) {
  if (states_last) return {height, width, states, width * states, states, 1};
  return {height, width, states, width, 1, height * width};
}

struct Problem {
  GridShape grid;
  std::vector<double> unary, horizontal, vertical;
  int iterations;
  double damping;
};

Problem random_problem(std::size_t height, std::size_t width, std::size_t states, bool states_last, int iterations,
                       double damping, unsigned seed, double scale = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Problem p{grid_of(height, width, states, states_last), {}, {}, {}, iterations, damping};
  for (std::size_t n = 0; n < height * width * states; ++n) p.unary.push_back(scale * normal(random));
  for (std::size_t n = 0; n < states * states; ++n) p.horizontal.push_back(normal(random));
  for (std::size_t n = 0; n < states * states; ++n) p.vertical.push_back(normal(random));
  return p;
}

/// The same iterations, one message at a time, in the log domain.
std::vector<double> composed(const Problem& p) {
  const auto& g = p.grid;
  const std::size_t K = g.states;
  const int dy[] = {0, 0, 1, -1}, dx[] = {1, -1, 0, 0};
  const auto index = [&](std::size_t d, std::size_t y, std::size_t x, std::size_t k) {
    return ((d * g.height + y) * g.width + x) * K + k;
  };
  const auto unary = [&](std::size_t y, std::size_t x, std::size_t k) {
    return p.unary[y * g.row_stride + x * g.column_stride + k * g.state_stride];
  };
  std::vector<double> m(4 * g.height * g.width * K, -std::log(static_cast<double>(K)));
  for (int n = 0; n < p.iterations; ++n) {
    auto next = m;
    for (std::size_t d = 0; d < 4; ++d)
      for (std::size_t y = 0; y < g.height; ++y)
        for (std::size_t x = 0; x < g.width; ++x) {
          const auto ty = static_cast<std::size_t>(static_cast<int>(y) + dy[d]);
          const auto tx = static_cast<std::size_t>(static_cast<int>(x) + dx[d]);
          if (ty >= g.height || tx >= g.width) continue;
          std::vector<double> out(K);
          double total = 0;
          for (std::size_t j = 0; j < K; ++j) {
            for (std::size_t i = 0; i < K; ++i) {
              double c = unary(y, x, i);
              for (std::size_t e = 0; e < 4; ++e)
                if (e != (d ^ 1)) c += m[index(e, y, x, i)];
              const auto& potential = d < 2 ? p.horizontal : p.vertical;
              out[j] += std::exp(c + (d % 2 == 0 ? potential[i * K + j] : potential[j * K + i]));
            }
            total += out[j];
          }
          for (std::size_t j = 0; j < K; ++j)
            next[index(d, ty, tx, j)] =
                std::log((1 - p.damping) * out[j] / total + p.damping * std::exp(m[index(d, ty, tx, j)]));
        }
    m = next;
  }
  std::vector<double> out(p.unary.size());
  for (std::size_t y = 0; y < g.height; ++y)
    for (std::size_t x = 0; x < g.width; ++x) {
      std::vector<double> b(K);
      double total = 0;
      for (std::size_t k = 0; k < K; ++k) {
        b[k] = unary(y, x, k);
        for (std::size_t d = 0; d < 4; ++d) b[k] += m[index(d, y, x, k)];
        total += std::exp(b[k]);
      }
      for (std::size_t k = 0; k < K; ++k)
        out[y * g.row_stride + x * g.column_stride + k * g.state_stride] = b[k] - std::log(total);
    }
  return out;
}

template <class T>
struct Run {
  std::vector<T> log_marginals, unary, horizontal, vertical;
};

template <class T>
Run<T> run(const Problem& p, const GridBeliefPropagationKernels<T>& kernels) {
  const auto convert = [](const std::vector<double>& v) { return std::vector<T>(v.begin(), v.end()); };
  const auto u = convert(p.unary), h = convert(p.horizontal), v = convert(p.vertical),
             w = convert(random_weights(u.size()));
  Run<T> r{std::vector<T>(u.size()), std::vector<T>(u.size()), std::vector<T>(h.size()), std::vector<T>(v.size())};
  REQUIRE(GridBeliefPropagationEngine<T>::applicable(p.grid, h.data(), v.data()));
  GridBeliefPropagationEngine<T> engine(kernels);
  const T damping = static_cast<T>(p.damping);
  engine.forward(p.grid, u.data(), h.data(), v.data(), p.iterations, damping, r.log_marginals.data(), false);
  const auto transient = r.log_marginals;
  engine.forward(p.grid, u.data(), h.data(), v.data(), p.iterations, damping, r.log_marginals.data(), true);
  CHECK(transient == r.log_marginals);
  engine.backward(w.data(), r.unary.data(), r.horizontal.data(), r.vertical.data());
  return r;
}

}  // namespace

TEST_CASE("grid belief propagation: equal to the composed iterations, with their gradient") {
  struct Size {
    std::size_t height, width, states;
    bool states_last;
    int iterations;
    double damping;
  };
  for (const Size& s : {Size{3, 4, 4, true, 5, 0},
                        {1, 1, 3, true, 2, 0},
                        {2, 17, 2, false, 3, 0.3},
                        {4, 1, 5, true, 4, 0},
                        {1, 6, 3, false, 3, 0.5},
                        {2, 3, 6, false, 3, 0.2},
                        {3, 3, 4, true, 0, 0}}) {
    CAPTURE(s.width);
    CAPTURE(s.states);
    auto p = random_problem(s.height, s.width, s.states, s.states_last, s.iterations, s.damping, 3);
    const auto expected = composed(p);
    const auto unary = differences(p.unary, [&] { return composed(p); }),
               horizontal = differences(p.horizontal, [&] { return composed(p); }),
               vertical = differences(p.vertical, [&] { return composed(p); });
    for_each_instruction_set<GridBeliefPropagationKernels<double>>([&](const auto& kernels, const std::string& name) {
      CAPTURE(name);
      const auto r = run(p, kernels);
      CHECK(worst(r.log_marginals, expected) < 1e-13);
      CHECK(worst(r.unary, unary) < 3e-7);
      CHECK(worst(r.horizontal, horizontal) < 3e-7);
      CHECK(worst(r.vertical, vertical) < 3e-7);
    });
    const auto exact = run(p, detail::kernels<GridBeliefPropagationKernels<double>>());
    for_each_instruction_set<GridBeliefPropagationKernels<float>>([&](const auto& kernels, const std::string& name) {
      CAPTURE(name);
      const auto r = run(p, kernels);
      CHECK(worst(r.log_marginals, exact.log_marginals) < 1e-5);
      CHECK(worst(r.unary, exact.unary) < 2e-5);
      CHECK(worst(r.horizontal, exact.horizontal) < 2e-5);
      CHECK(worst(r.vertical, exact.vertical) < 2e-5);
    });
  }
}

TEST_CASE("grid belief propagation: rounding does not grow over many iterations, extreme unary potentials are fine") {
  auto p = random_problem(20, 33, 3, true, 60, 0, 5);
  for (double& x : p.horizontal) x *= 0.3;
  for (double& x : p.vertical) x *= 0.3;
  for (const double scale : {1.0, 300.0}) {
    for (double& x : p.unary) x = static_cast<float>(x * scale);
    for (double& x : p.horizontal) x = static_cast<float>(x);
    for (double& x : p.vertical) x = static_cast<float>(x);
    const auto exact = run(p, detail::kernels<GridBeliefPropagationKernels<double>>());
    const auto single = run(p, detail::kernels<GridBeliefPropagationKernels<float>>());
    double error = 0, worst_marginal = 0;
    for (std::size_t i = 0; i < exact.unary.size(); ++i) {
      error = std::max(error, std::abs(exact.unary[i] - static_cast<double>(single.unary[i])));
      const double a = exact.log_marginals[i], b = static_cast<double>(single.log_marginals[i]);
      worst_marginal = std::max(worst_marginal, std::abs(a - b) / std::max(1.0, std::abs(a)));
    }
    if (scale == 1.0) CHECK(error < 2e-5);
    CHECK(worst_marginal < 1e-5);
    CHECK(std::isfinite(error));
  }
}
