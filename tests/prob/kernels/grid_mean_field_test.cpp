#include <tapestry/prob/grid_mean_field_engine.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/threads.hpp>

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

TEST_CASE("grid mean field: every number of states, alike neighbours as four directions with the same matrix") {
  for (std::size_t states = 1; states <= 9; ++states)
    for (int iterations = 0; iterations <= 3; ++iterations) {
      // Heights of one chunk and of several, widths beside those of vectors.
      const std::size_t height = states % 3 == 0 ? 1 : states % 3 == 1 ? 5 : 37;
      const std::size_t width = 14 + 9 * static_cast<std::size_t>(iterations) + states / 2;
      CAPTURE(states);
      CAPTURE(iterations);
      CAPTURE(width);
      const auto one = random_problem(height, width, states, states % 2 == 0, 1, iterations, 0);
      auto four = one;
      four.directions = 4;
      for (int n = 0; n < 3; ++n)
        four.compatibility.insert(four.compatibility.end(), one.compatibility.begin(), one.compatibility.end());
      const auto expected = run(four, detail::kernels<GridMeanFieldKernels<double>>());
      const std::size_t square = states * states;
      std::vector<double> compatibility(square);
      for (std::size_t n = 0; n < 4 * square; ++n) compatibility[n % square] += expected.compatibility[n];
      const auto check = [&](const auto& kernels, const std::string& name, double bound) {
        CAPTURE(name);
        const auto r = run(one, kernels);
        CHECK(worst(r.log_q, expected.log_q) < bound);
        CHECK(worst(r.unary, expected.unary) < bound);
        CHECK(worst(r.compatibility, compatibility) < 30 * bound);
      };
      for_each_instruction_set<GridMeanFieldKernels<double>>(
          [&](const auto& kernels, const std::string& name) { check(kernels, name, 1e-13); });
      for_each_instruction_set<GridMeanFieldKernels<float>>(
          [&](const auto& kernels, const std::string& name) { check(kernels, name, 2e-5); });
    }
}

TEST_CASE("grid mean field: one thread and two give the same bits") {
  const int before = threads();
  for (const double damping : {0.0, 0.25}) {
    const auto p = random_problem(131, 40, 5, false, 1, 8, damping);
    const auto& kernels = detail::kernels<GridMeanFieldKernels<float>>();
    set_threads(1);
    const auto one = run(p, kernels);
    set_threads(2);
    const auto two = run(p, kernels);
    CHECK(one.log_q == two.log_q);
    CHECK(one.unary == two.unary);
    CHECK(one.compatibility == two.compatibility);
  }
  set_threads(before);
}

TEST_CASE("grid mean field: impossible and very unlikely states") {
  for (const bool states_last : {true, false})
    for (const double damping : {0.0, 0.5}) {
      auto p = random_problem(3, 5, 3, states_last, 1, 4, damping);
      const auto place = [&](std::size_t pixel, std::size_t state) {
        return pixel * p.grid.column_stride + state * p.grid.state_stride;
      };
      p.unary[place(1, 1)] = -std::numeric_limits<double>::infinity();
      p.unary[place(3, 0)] = -400;
      for (std::size_t k = 0; k < 3; ++k) p.unary[place(7, k)] = -std::numeric_limits<double>::infinity();
      const auto r = run(p, detail::kernels<GridMeanFieldKernels<float>>());
      CHECK(r.log_q[place(1, 1)] == -std::numeric_limits<float>::infinity());
      for (std::size_t k = 0; k < 3; ++k) CHECK(r.log_q[place(7, k)] == -std::numeric_limits<float>::infinity());
      if (damping == 0) CHECK(r.log_q[place(3, 0)] == doctest::Approx(-400).epsilon(0.02));
      for (const float x : r.unary) CHECK(std::isfinite(x));
      for (const float x : r.compatibility) CHECK(std::isfinite(x));
    }
}
