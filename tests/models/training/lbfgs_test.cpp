#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/lbfgs.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

using namespace tapestry;

namespace {

double rosenbrock(std::span<const double> x, std::span<double> g) {
  double value = 0;
  for (double& v : g) v = 0;
  for (std::size_t i = 0; i + 1 < x.size(); i += 2) {
    const double a = 1 - x[i], b = 10 * (x[i + 1] - x[i] * x[i]);
    value += a * a + b * b;
    g[i + 1] = 20 * b;
    g[i] = -2 * (x[i] * g[i + 1] + a);
  }
  return value;
}

/// sum of (x_i - c_i)^2 / 2 with c = 3, -0.5, 1, -4, ...
double parabola(std::span<const double> x, std::span<double> g) {
  const double centre[] = {3, -0.5, 1, -4};
  double value = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    g[i] = x[i] - centre[i % 4];
    value += g[i] * g[i] / 2;
  }
  return value;
}

}  // namespace

TEST_CASE("minimize_lbfgs: finds a minimum with every line search") {
  for (const auto search :
       {LineSearch::more_thuente, LineSearch::armijo, LineSearch::wolfe, LineSearch::strong_wolfe}) {
    std::vector<double> x(10);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 2 ? 1 : -1.2;
    int calls = 0, iterations = 0, evaluations = 0;
    const auto result = minimize_lbfgs(
        x,
        [&](auto p, auto g) {
          ++calls;
          return rosenbrock(p, g);
        },
        {.gradient_tolerance = 1e-9, .period = 0, .line_search = search, .max_evaluations = 60},
        [&](const LbfgsProgress& progress) {
          CHECK(progress.iteration == ++iterations);
          CHECK(progress.x.size() == 10);
          evaluations += progress.evaluations;
          return true;
        });
    CHECK(result.stop == LbfgsStop::converged);
    for (const double v : x) CHECK(v == doctest::Approx(1).epsilon(1e-7));
    CHECK(result.value < 1e-15);
    CHECK(result.iterations == iterations);
    CHECK(result.evaluations == calls);
    CHECK(evaluations == calls - 1);
  }
}

TEST_CASE("minimize_lbfgs: OWL-QN gives the soft threshold, outside the range the plain minimum") {
  std::vector<double> x(6, 0.);
  const auto result = minimize_lbfgs(x, parabola, {.gradient_tolerance = 1e-10, .period = 0, .l1 = 1, .l1_end = 5});
  const double expected[] = {2, 0, 0, -3, 2, -0.5};
  for (std::size_t i = 0; i < 6; ++i) CHECK(x[i] == doctest::Approx(expected[i]).epsilon(1e-7));
  CHECK(x[1] == 0);
  CHECK(x[2] == 0);
  const double value = .5 + .125 + .5 + .5 + .5 + (2. + 3 + 2);
  CHECK(result.value == doctest::Approx(value));
}

TEST_CASE("minimize_lbfgs: why it stopped") {
  std::vector<double> x(10, -1.), y = x, z = x, w = x;
  CHECK(minimize_lbfgs(x, rosenbrock, {.max_iterations = 3}).stop == LbfgsStop::max_iterations);
  const auto stopped = minimize_lbfgs(y, rosenbrock, {}, [](const LbfgsProgress& p) { return p.iteration < 2; });
  CHECK(stopped.stop == LbfgsStop::stopped);
  CHECK(stopped.iterations == 2);
  std::vector<double> g(10);
  CHECK(rosenbrock(y, g) == stopped.value);
  const auto small = minimize_lbfgs(z, rosenbrock, {.gradient_tolerance = 0, .period = 1, .decrease_tolerance = 1.});
  CHECK(small.stop == LbfgsStop::small_decrease);
  // A gradient that points uphill leaves no step to take.
  const auto failed = minimize_lbfgs(w, [](auto p, auto grad) {
    const double value = rosenbrock(p, grad);
    for (double& v : grad) v = -v;
    return value;
  });
  CHECK(failed.stop == LbfgsStop::line_search_failed);
  CHECK(w == std::vector<double>(10, -1.));
  std::vector<double> best(4, 1.);
  CHECK(minimize_lbfgs(best, rosenbrock).stop == LbfgsStop::converged);
}

TEST_CASE("minimize_lbfgs: errors leave x as it was") {
  const std::vector<double> start(10, -1.);
  for (const int when : {1, 2, 5}) {
    std::vector<double> x = start;
    int calls = 0;
    const auto throwing = [&](auto p, auto g) {
      if (++calls == when) throw 42;
      return rosenbrock(p, g);
    };
    CHECK_THROWS_AS(minimize_lbfgs(x, throwing), int);
    CHECK(x == start);
    CHECK(calls == when);
    calls = 0;
    const auto not_a_number = [&](auto p, auto g) {
      const double value = rosenbrock(p, g);
      return ++calls == when ? std::numeric_limits<double>::quiet_NaN() : value;
    };
    CHECK_THROWS_AS(minimize_lbfgs(x, not_a_number), NumericalError);
    CHECK(x == start);
  }
  std::vector<double> x = start, none;
  CHECK_THROWS_AS(minimize_lbfgs(x, rosenbrock, {}, [](const LbfgsProgress&) -> bool { throw 42; }), int);
  CHECK_THROWS_AS(minimize_lbfgs(x, rosenbrock, {.memory = 0}), Error);
  CHECK_THROWS_AS(minimize_lbfgs(x, rosenbrock, {.l1 = 1, .l1_end = 11}), Error);
  CHECK_THROWS_AS(minimize_lbfgs(x, rosenbrock, {.l1 = -1}), Error);
  CHECK(x == start);
  CHECK(minimize_lbfgs(none, [](auto, auto) { return 3.; }).value == 3);
}

TEST_CASE("minimize_lbfgs: goes on from a state taken at a restart to the same bits") {
  for (const double l1 : {0.0, 0.3}) {
    const LbfgsOptions options{.memory = 3, .max_iterations = 23, .gradient_tolerance = 1e-9, .restart = 5, .l1 = l1};
    const std::vector<double> start(10, -1.2);
    std::vector<double> whole = start;
    const LbfgsResult all = minimize_lbfgs(whole, rosenbrock, options);
    CHECK(all.iterations == 23);
    for (const int when : {5, 10, 20}) {
      NamedTensors saved;
      {
        LbfgsState state;
        Archive archive;
        archive("lbfgs", state);
        std::vector<double> x = start;
        minimize_lbfgs(
            x, rosenbrock, options,
            [&](const LbfgsProgress& p) {
              CHECK(state.iteration == (p.iteration - 1) / 5 * 5);
              if (state.iteration == when) saved = archive.save();
              return p.iteration < when + 2;
            },
            &state);
      }
      LbfgsState state;
      Archive archive;
      archive("lbfgs", state);
      archive.load(saved, "saved");
      std::vector<double> x(10, 7.);
      int first = 0;
      const LbfgsResult rest = minimize_lbfgs(
          x, rosenbrock, options,
          [&](const LbfgsProgress& p) {
            if (first == 0) first = p.iteration;
            return true;
          },
          &state);
      CHECK(first == when + 1);
      CHECK(x == whole);
      CHECK(rest.value == all.value);
      CHECK(rest.iterations == all.iterations);
      CHECK(rest.evaluations == all.evaluations);
      CHECK(rest.stop == all.stop);
      std::vector<double> other(9);
      CHECK_THROWS_AS(minimize_lbfgs(other, rosenbrock, options, {}, &state), ShapeError);
    }
    // A state at the limit is the result.
    LbfgsState state;
    std::vector<double> x = start, y = start;
    LbfgsOptions limited = options;
    limited.max_iterations = 10;
    minimize_lbfgs(x, rosenbrock, limited, {}, &state);
    const LbfgsResult again = minimize_lbfgs(
        y, [](auto, auto) -> double { throw 1; }, limited, {}, &state);
    CHECK(y == x);
    CHECK(again.iterations == 10);
    CHECK(again.stop == LbfgsStop::max_iterations);
  }
}
