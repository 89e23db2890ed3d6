#include <tapestry/prob/grid_mean_field_engine.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "finite_differences.hpp"
#include "instruction_sets.hpp"

using namespace tapestry;
using detail::GridMeanFieldEngine;
using detail::GridMeanFieldKernels;
using detail::GridShape;

namespace {

struct Problem {
  GridShape grid;
  std::size_t directions;
  int iterations;
  double damping;
  std::vector<double> unary, compatibility;
};

Problem random_problem(std::size_t height, std::size_t width, std::size_t states, bool states_last,
                       std::size_t directions, int iterations, double damping) {
  std::mt19937_64 random(height + 10 * width);
  std::normal_distribution<double> normal;
  const GridShape grid = states_last ? GridShape{height, width, states, width * states, states, 1}
                                     : GridShape{height, width, states, width, 1, height * width};
  Problem p{grid, directions, iterations, damping, {}, {}};
  for (std::size_t n = 0; n < height * width * states; ++n) p.unary.push_back(normal(random));
  for (std::size_t n = 0; n < directions * states * states; ++n) p.compatibility.push_back(0.5 * normal(random));
  return p;
}

/// The same iterations, pixel by pixel.
std::vector<double> composed(const Problem& p) {
  const auto& g = p.grid;
  const std::size_t K = g.states;
  const int dy[] = {0, 0, -1, 1}, dx[] = {-1, 1, 0, 0};
  const auto place = [&](std::size_t y, std::size_t x, std::size_t k) {
    return y * g.row_stride + x * g.column_stride + k * g.state_stride;
  };
  std::vector<double> q;
  for (int n = 0; n <= p.iterations; ++n) {
    auto next = p.unary;
    for (std::size_t y = 0; y < g.height; ++y)
      for (std::size_t x = 0; x < g.width; ++x) {
        double total = 0;
        for (std::size_t k = 0; k < K; ++k) {
          double& logit = next[place(y, x, k)];
          for (std::size_t d = 0; d < 4 && n > 0; ++d) {
            const auto ny = static_cast<std::size_t>(static_cast<int>(y) + dy[d]);
            const auto nx = static_cast<std::size_t>(static_cast<int>(x) + dx[d]);
            if (ny >= g.height || nx >= g.width) continue;
            const std::size_t matrix = p.directions == 1 ? 0 : p.directions == 2 ? d / 2 : d;
            for (std::size_t l = 0; l < K; ++l)
              logit += p.compatibility[(matrix * K + k) * K + l] * q[place(ny, nx, l)];
          }
          total += std::exp(logit);
        }
        for (std::size_t k = 0; k < K; ++k) {
          double& out = next[place(y, x, k)];
          out = std::exp(out) / total;
          if (n > 0) out = (1 - p.damping) * out + p.damping * q[place(y, x, k)];
        }
      }
    q = next;
  }
  for (double& x : q) x = std::log(x);
  return q;
}

template <class T>
struct Run {
  std::vector<T> log_q, unary, compatibility;
};

template <class T>
Run<T> run(const Problem& p, const GridMeanFieldKernels<T>& kernels) {
  const auto convert = [](const std::vector<double>& v) { return std::vector<T>(v.begin(), v.end()); };
  const auto u = convert(p.unary), c = convert(p.compatibility), w = convert(random_weights(u.size()));
  Run<T> r{std::vector<T>(u.size()), std::vector<T>(u.size()), std::vector<T>(c.size())};
  GridMeanFieldEngine<T> engine(kernels);
  const T damping = static_cast<T>(p.damping);
  engine.forward(p.grid, u.data(), p.directions, c.data(), p.iterations, damping, r.log_q.data(), false);
  const auto transient = r.log_q;
  engine.forward(p.grid, u.data(), p.directions, c.data(), p.iterations, damping, r.log_q.data(), true);
  CHECK(transient == r.log_q);
  engine.backward(w.data(), r.unary.data(), r.compatibility.data());
  return r;
}

}  // namespace

TEST_CASE("grid mean field: equal to the composed iterations, with their gradient") {
  struct Size {
    std::size_t height, width, states;
    bool states_last;
    std::size_t directions;
    int iterations;
    double damping;
  };
  for (const Size& s : {Size{3, 4, 4, false, 1, 5, 0},
                        {1, 1, 3, true, 2, 2, 0},
                        {2, 17, 2, false, 2, 3, 0.3},
                        {4, 1, 5, true, 4, 4, 0},
                        {1, 6, 8, false, 1, 3, 0.5},
                        {2, 3, 13, false, 4, 3, 0.2},
                        {3, 3, 4, true, 1, 0, 0},
                        {2, 2, 1, true, 1, 2, 0},
                        {2, 33, 3, true, 1, 1, 0.4}}) {
    CAPTURE(s.width);
    CAPTURE(s.states);
    auto p = random_problem(s.height, s.width, s.states, s.states_last, s.directions, s.iterations, s.damping);
    const auto expected = composed(p);
    const auto unary = differences(p.unary, [&] { return composed(p); }),
               compatibility = differences(p.compatibility, [&] { return composed(p); });
    for_each_instruction_set<GridMeanFieldKernels<double>>([&](const auto& kernels, const std::string& name) {
      CAPTURE(name);
      const auto r = run(p, kernels);
      CHECK(worst(r.log_q, expected) < 1e-13);
      CHECK(worst(r.unary, unary) < 3e-7);
      CHECK(worst(r.compatibility, compatibility) < 3e-7);
    });
    const auto exact = run(p, detail::kernels<GridMeanFieldKernels<double>>());
    for_each_instruction_set<GridMeanFieldKernels<float>>([&](const auto& kernels, const std::string& name) {
      CAPTURE(name);
      const auto r = run(p, kernels);
      CHECK(worst(r.log_q, exact.log_q) < 1e-5);
      CHECK(worst(r.unary, exact.unary) < 2e-5);
      CHECK(worst(r.compatibility, exact.compatibility) < 2e-5);
    });
  }
}

TEST_CASE("grid mean field: impossible and very unlikely states") {
  for (const double damping : {0.0, 0.5}) {
    auto p = random_problem(3, 5, 3, true, 1, 4, damping);
    p.unary[4] = -std::numeric_limits<double>::infinity();
    p.unary[9] = -400;
    const auto r = run(p, detail::kernels<GridMeanFieldKernels<float>>());
    CHECK(r.log_q[4] == -std::numeric_limits<float>::infinity());
    if (damping == 0) CHECK(r.log_q[9] == doctest::Approx(-400).epsilon(0.02));
    for (const float x : r.unary) CHECK(std::isfinite(x));
    for (const float x : r.compatibility) CHECK(std::isfinite(x));
  }
}
