#include <tapestry/graph/unroll.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/autodiff/registry.hpp>
#include <tapestry/graph/fixed_point.hpp>

using namespace tapestry;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;

struct Pendulum {
  V angle, speed;
  void members(Members& m) { m("angle", angle)("speed", speed); }
};

Pendulum swing(const Pendulum& at, const V& pull) {
  const V speed = at.speed - pull * sin(at.angle);
  return {at.angle + 0.1 * speed, speed};
}

const LoopGradient ways[] = {LoopGradient::full, LoopGradient::checkpointed};

double relative(double a, double b) {
  return std::abs(a - b) / std::max(1e-300, std::abs(b));
}

/// An input of a scan that counts its copies.
struct Counted {
  V value;
  static inline int copies = 0;
  explicit Counted(V v) : value(std::move(v)) {}
  Counted(const Counted& other) : value(other.value) { ++copies; }
  Counted(Counted&&) = default;
};

}  // namespace

TEST_CASE("unroll: values, gradients and second order of a struct's state, against a loop") {
  const Vars x = {V(Tensor<double>{0.4, -1.1}), V(Tensor<double>{0.2, 0.3}), V(Tensor<double>{0.5, 0.9})};
  const Function<double> by_hand = [](const Vars& v) {
    Pendulum p{v[0], v[1]};
    for (int t = 0; t < 11; ++t) p = swing(p, v[2]);
    return sum(p.angle * p.speed);
  };
  for (const LoopGradient way : ways) {
    const Function<double> f = [way](const Vars& v) {
      const auto step = [pull = v[2]](const Pendulum& at) { return swing(at, pull); };
      const auto run = unroll(step, Pendulum{v[0], v[1]}, 11, {.gradient = way});
      CHECK(run.steps == 11);
      CHECK(!run.converged);
      return sum(run.state.angle * run.state.speed);
    };
    CHECK(f(x).item() == by_hand(x).item());
    CHECK_NOTHROW(check_gradients(f, x, {.order = 2, .tolerance = 1e-5}));
    Vars leaves;
    for (const V& v : x) leaves.push_back(V(v.tensor(), true));
    const Vars expected = grad(by_hand(leaves), leaves), found = grad(f(leaves), leaves);
    for (std::size_t i = 0; i < x.size(); ++i)
      for (int j = 0; j < 2; ++j) CHECK(relative(found[i].value()(j), expected[i].value()(j)) < 1e-13);
  }
}

TEST_CASE("unroll: tuples, vectors and the step's number; the trajectory") {
  const V a = V::filled({3}, 0.5, true);
  const auto pair_step = [](std::int64_t t, const std::pair<V, V>& s) {
    return std::pair<V, V>(s.first * 1.5 + static_cast<double>(t), s.second + s.first);
  };
  for (const LoopGradient way : ways) {
    const auto run = unroll(pair_step, std::pair<V, V>(a, a), 5, {.gradient = way, .trajectory = true});
    V p = a, q = a;
    REQUIRE(run.trajectory.size() == 5);
    for (int t = 0; t < 5; ++t) {
      const V next = p * 1.5 + static_cast<double>(t);
      q = q + p;
      p = next;
      CHECK(run.trajectory[static_cast<std::size_t>(t)].first.value()(1) == p.value()(1));
      CHECK(run.trajectory[static_cast<std::size_t>(t)].second.value()(1) == q.value()(1));
    }
    // The gradient of an inner step's state.
    const V g = grad(sum(run.trajectory[2].first), {a})[0];
    CHECK(g.value()(0) == doctest::Approx(1.5 * 1.5 * 1.5).epsilon(1e-15));
  }
  const auto rotate = [](const Vars& s) { return Vars{s[1], s[0] + s[1]}; };
  const auto fibonacci = unroll(rotate, Vars{V(0.0), V(1.0)}, 30);
  CHECK(fibonacci.state[0].item() == 832040.0);
  CHECK(unroll(rotate, Vars{V(0.0), V(1.0)}, 0).state[1].item() == 1.0);
}

TEST_CASE("unroll: states of states; no step, one and two, in all ways") {
  using State = std::tuple<Pendulum, std::vector<std::pair<V, V>>, std::array<V, 2>>;
  const V a = V::filled({}, 0.5, true);
  const auto step = [a](const State& s) {
    const auto& [p, pairs, two] = s;
    return State(swing(p, a), {{pairs[0].second * a, pairs[0].first}, {pairs[1].first + p.angle, pairs[1].second}},
                 {two[1] + a, two[0] * a});
  };
  const State start(Pendulum{V(0.3), V(0.1)}, {{V(1.0), V(2.0)}, {V(3.0), a}}, {a, V(5.0)});
  const auto total = [](const State& s) {
    const auto& [p, pairs, two] = s;
    return p.angle * p.speed + pairs[0].first * 2.0 + pairs[0].second + pairs[1].first * pairs[1].second +
           two[0] * two[1];
  };
  State by_hand = start;
  for (std::int64_t steps = 0; steps < 4; ++steps) {
    if (steps > 0) by_hand = step(by_hand);
    const double expected = grad(total(by_hand), {a}, {.retain_graph = true})[0].item();
    for (const LoopGradient way : {LoopGradient::full, LoopGradient::checkpointed, LoopGradient::truncated}) {
      const auto run = unroll(step, start, steps, {.gradient = way, .last = 4, .trajectory = true});
      CHECK(run.steps == steps);
      CHECK(run.trajectory.size() == static_cast<std::size_t>(steps));
      CHECK(total(run.state).item() == total(by_hand).item());
      CHECK(grad(total(run.state), {a})[0].item() == doctest::Approx(expected).epsilon(1e-14));
    }
    const auto inputs = V::ones({steps, 1});
    for (const LoopGradient way : ways) {
      const auto add = [a](const V& s, const V& x) { return std::pair(a * s + sum(x), s); };
      const auto run = scan(add, V(2.0), inputs, {.gradient = way});
      CHECK(run.outputs.size() == static_cast<std::size_t>(steps));
      V s(2.0);
      for (std::int64_t t = 0; t < steps; ++t) s = a * s + 1.0;
      CHECK(run.state.item() == s.item());
    }
  }
}

TEST_CASE("unroll: a truncated gradient is that of the last steps from a constant state") {
  V a = V::filled({2}, 0.3, true), w = V::filled({2}, 1.2, true);
  const auto step = [w](const V& s) { return tanh(w * s) + 0.1; };
  const auto truncated = unroll(step, a, 9, {.gradient = LoopGradient::truncated, .last = 4});
  V s = a;
  for (int t = 0; t < 5; ++t) s = step(s).detach();
  for (int t = 0; t < 4; ++t) s = step(s);
  CHECK(truncated.state.value()(0) == s.value()(0));
  const Vars found = grad(sum(truncated.state), {w, a}), expected = grad(sum(s), {w, a});
  CHECK(found[0].value()(1) == expected[0].value()(1));
  CHECK(found[1].value()(1) == 0.0);
  const auto all = unroll(step, a, 3, {.gradient = LoopGradient::truncated, .last = 10});
  CHECK(grad(sum(all.state), {a})[0].value()(0) != 0.0);
  CHECK(!unroll(step, a, 3, {.gradient = LoopGradient::truncated}).state.requires_grad());
}

TEST_CASE("unroll: stops at a residual, with the number of steps, in all three ways") {
  V w = V::filled({}, 0.5, true);
  const auto step = [w](const V& s) { return w * s + 1.0; };
  V s(0.0);
  std::int64_t steps = 0;
  for (double change = 1; change > 1e-6; ++steps) {
    const V next = step(s);
    change = std::abs(next.item() - s.item());
    s = next;
  }
  const double expected = grad(s, {w})[0].item();
  for (const LoopGradient way : {LoopGradient::full, LoopGradient::checkpointed, LoopGradient::truncated}) {
    const auto run = unroll(step, V(0.0), 1000, {.gradient = way, .last = 30, .tolerance = 1e-6, .trajectory = true});
    CHECK(run.converged);
    CHECK(run.steps == steps);
    CHECK(run.residuals.size() == static_cast<std::size_t>(steps));
    CHECK(run.residuals.back() <= 1e-6);
    CHECK(run.residuals[run.residuals.size() - 2] > 1e-6);
    CHECK(run.state.item() == s.item());
    CHECK(run.trajectory.back().item() == s.item());
    CHECK(grad(run.state, {w})[0].item() == doctest::Approx(expected).epsilon(1e-14));
  }
  // The last steps before it stopped, from a constant.
  for (const std::int64_t last : {0, 1, 3}) {
    const auto run = unroll(step, V(0.0), 1000, {.gradient = LoopGradient::truncated, .last = last, .tolerance = 1e-6});
    CHECK(run.state.item() == s.item());
    CHECK(run.state.requires_grad() == (last > 0));
    if (last == 0) continue;
    V at(0.0);
    for (std::int64_t t = 0; t < steps; ++t) at = step(t == steps - last ? at.detach() : at);
    CHECK(grad(run.state, {w})[0].item() == grad(at, {w})[0].item());
  }
  const auto slow = unroll(step, V(0.0), 5, {.tolerance = 1e-6});
  CHECK(!slow.converged);
  CHECK(slow.steps == 5);
}

TEST_CASE("scan: outputs and gradients to inputs, state and captured variables, against a loop") {
  const Vars x = {V(uniform_example({7, 2})(1)), V(uniform_example({2})(2)), V(uniform_example({2, 2})(3))};
  const Function<double> by_hand = [](const Vars& v) {
    V h = v[1], cost = V(0.0);
    for (int t = 0; t < 7; ++t) {
      h = tanh(matmul(h, v[2]) + select(v[0], 0, t));
      cost = cost + sum(square(h));
    }
    return cost + sum(h);
  };
  for (const LoopGradient way : ways) {
    const Function<double> f = [way](const Vars& v) {
      const auto step = [w = v[2]](const V& h, const V& input) {
        const V next = tanh(matmul(h, w) + input);
        return std::pair(next, sum(square(next)));
      };
      const auto run = scan(step, v[1], v[0], {.gradient = way});
      CHECK(run.outputs.size() == 7);
      V cost(0.0);
      for (const V& output : run.outputs) cost = cost + output;
      return cost + sum(run.state);
    };
    CHECK(f(x).item() == doctest::Approx(by_hand(x).item()).epsilon(1e-15));
    CHECK_NOTHROW(check_gradients(f, x, {.order = 2, .tolerance = 1e-5}));
  }
  // Inputs of several variables; a step without an output; computed captured variables.
  const std::vector<std::pair<V, V>> pairs = {{V(1.0), V(2.0)}, {V(3.0), V(4.0)}};
  const auto product = [](const V& s, const std::pair<V, V>& p) { return s + p.first * p.second; };
  CHECK(scan(product, V(0.0), pairs).state.item() == 14.0);
  CHECK(scan(product, V(5.0), std::vector<std::pair<V, V>>()).state.item() == 5.0);
}

TEST_CASE("scan: inputs are copied once, not for each checkpointed segment") {
  std::vector<Counted> inputs;
  for (int t = 0; t < 100; ++t) inputs.emplace_back(V(0.01 * t));
  const V w(0.5, true);
  Counted::copies = 0;
  const auto step = [w](const V& at, const Counted& x) { return tanh(w * at) + x.value; };
  const V end = scan(step, V(0.1), inputs, {.gradient = LoopGradient::checkpointed}).state;
  grad(end, {w});
  CHECK(Counted::copies <= 100);
}

TEST_CASE("scan: a checkpointed scan holds slices of constant inputs for one segment only") {
  const std::int64_t steps = 2500, n = 100;
  V inputs = V::filled({steps, n}, 0.01), w(0.5, true);
  const auto step = [w](const V& at, const V& x) { return tanh(w * at + x); };
  const V start = V::filled({n}, 0.1);
  const auto before = memory_statistics().in_use;
  reset_peak_memory();
  const V end = sum(scan(step, start, inputs, {.gradient = LoopGradient::checkpointed}).state);
  end.backward({.retain_graph = true});
  CHECK(memory_statistics().peak - before < 400 * n * 8);
  const V all = sum(scan(step, start, unbind(inputs, 0)).state);
  CHECK(grad(all, {w})[0].item() == doctest::Approx(w.gradient()()).epsilon(1e-13));
  inputs.mutable_value()(0, 0) = 1;
  CHECK_THROWS_WITH_AS(end.backward(), "scan: the inputs of shape [2500, 100] were changed in place before step 2450",
                       GraphError);
}

TEST_CASE("unroll: loops within loops and fixed points within loops, checkpointed or not, to second order") {
  const Vars x = {V(uniform_example({2, 2})(1)), V(uniform_example({5, 2})(2))};
  const auto nested = [](LoopGradient outer, LoopGradient inner, bool solve) -> Function<double> {
    return [=](const Vars& v) {
      const auto step = [=, w = v[0]](const V& h, const V& input) {
        const auto relax = [=](const V& z) { return tanh(0.4 * matmul(w, z) + input + 0.1 * h); };
        return solve ? fixed_point(relax, h, {.tolerance = 1e-14}).state
                     : unroll(relax, h, 5, {.gradient = inner}).state;
      };
      return sum(square(scan(step, V::zeros({2}), v[1], {.gradient = outer}).state));
    };
  };
  for (const bool solve : {false, true}) {
    const Vars leaves = {V(x[0].tensor(), true), V(x[1].tensor(), true)};
    const Vars expected = grad(nested(LoopGradient::full, LoopGradient::full, solve)(leaves), leaves);
    for (const LoopGradient outer : ways)
      for (const LoopGradient inner : ways) {
        const Vars found = grad(nested(outer, inner, solve)(leaves), leaves);
        CHECK(relative(found[0].value()(0, 1), expected[0].value()(0, 1)) < 1e-12);
        CHECK(relative(found[1].value()(4, 1), expected[1].value()(4, 1)) < 1e-12);
      }
    const auto f = nested(LoopGradient::checkpointed, LoopGradient::checkpointed, solve);
    CHECK_NOTHROW(check_gradients(f, x, {.order = 2, .tolerance = 1e-5}));
  }
}

TEST_CASE("unroll: memory of a checkpointed loop grows with the square root of its length") {
  const std::int64_t steps = 400, n = 10000;
  V x = V::filled({n}, 0.5, true), w = V::filled({}, 1.01, true);
  const auto step = [w](const V& s) { return tanh(s * w); };
  std::size_t peak[2];
  double by_w[2];
  for (int i = 0; i < 2; ++i) {
    w.zero_gradient();
    reset_peak_memory();
    const auto before = memory_statistics().in_use;
    sum(unroll(step, x, steps, {.gradient = ways[i]}).state).backward();
    peak[i] = memory_statistics().peak - before;
    by_w[i] = w.gradient()();
  }
  CHECK(relative(by_w[1], by_w[0]) < 1e-13);
  CHECK(peak[0] > static_cast<std::size_t>(steps * n) * 8);
  CHECK(peak[1] < 50 * n * 8 * 5 / 4);
  reset_peak_memory();
  const auto before = memory_statistics().in_use;
  sum(unroll(step, x, steps, {.gradient = LoopGradient::truncated, .last = 5}).state).backward();
  CHECK(memory_statistics().peak - before < 16 * n * 8);
}

TEST_CASE("unroll: scopes of the steps; errors") {
  const V a = V::filled({2}, 0.5, true);
  {
    std::ostringstream out;
    const auto run = unroll([](const V& s) { return exp(-s); }, a, 3, {.scope = "relax"});
    Tape::current().print(out);
    CHECK(out.str().find("in relax[2]") != std::string::npos);
  }
  const auto grow = [](const Vars& s) {
    Vars more = s;
    more.push_back(s[0]);
    return more;
  };
  CHECK_THROWS_WITH_AS(unroll(grow, Vars{a}, 2), "unroll: a step gives a state of 2 variables, it was given 1",
                       GraphError);
  CHECK_THROWS_WITH_AS(unroll([](const V& s) { return sum(s); }, a, 2, {.tolerance = 0.1}),
                       "unroll: a variable of the state changes its shape from [2] to []", ShapeError);
  const auto doubling = [](const V& s) { return concatenate({s, s}); };
  CHECK(unroll(doubling, a, 3, {.gradient = LoopGradient::checkpointed}).state.shape() == Shape{16});
  CHECK_THROWS_WITH_AS(scan([](const V& s, const V& x) { return s + x; }, a, V(1.0)),
                       "scan: the inputs are a number, which has no axis to run along", ShapeError);
  CHECK_THROWS_AS(unroll([](const V& s) { return s; }, a, -1), Error);
  CHECK_THROWS_AS(unroll([](const V& s) { return s; }, V(), 1), GraphError);
  // What is and stays impossible has not changed.
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const auto halved =
      unroll([](const V& s) { return 0.5 * s; }, V(Tensor<double>{-infinity, 1.0}), 50, {.tolerance = 1e-3});
  CHECK(halved.converged);
  CHECK(halved.steps == 10);
  // A change that is not a number is not convergence.
  const auto bad = unroll([](const V& s) { return log(s - 1.0); }, a, 2, {.tolerance = 1});
  CHECK(!bad.converged);
}
