#include <tapestry/autodiff/checkpoint.hpp>

#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;
using Vars = std::vector<V>;

TEST_CASE("checkpoint: same value and gradients, captured leaves included, to second order") {
  V w = V::filled({}, 0.6, true);
  const Function<double> f = [&](const Vars& x) { return tanh(x[0] * w) * x[1]; };
  const Function<double> g = [&](const Vars& x) { return checkpoint(f, x); };
  const Vars x = {V(Tensor<double>{0.3, -1.0}), V(Tensor<double>{2.0, 0.7})};
  CHECK_NOTHROW(check_gradients(g, x, {.order = 2}));
  V a = V(Tensor<double>{0.3, -1.0}, true);
  const V plain = sum(f({exp(a), x[1]})), again = sum(g({exp(a), x[1]}));
  CHECK(plain.item() == again.item());
  plain.backward();
  const double by_w = w.gradient()(), by_a = a.gradient()(0);
  w.zero_gradient();
  a.zero_gradient();
  again.backward();
  CHECK(w.gradient()() == doctest::Approx(by_w).epsilon(1e-15));
  CHECK(a.gradient()(0) == doctest::Approx(by_a).epsilon(1e-15));
}

TEST_CASE("checkpoint: captured computed variables get their gradients, to second order") {
  // b depends on what the input depends on, and the input on b.
  const Function<double> direct = [](const Vars& x) {
    const V b = exp(x[0]) * x[1];
    return sum(tanh(x[0] * b) * b + b);
  };
  const Function<double> checked = [](const Vars& x) {
    const V b = exp(x[0]) * x[1];
    const Function<double> inner = [b](const Vars& y) { return tanh(y[0]) * b + b; };
    return sum(checkpoint(inner, {x[0] * b}));
  };
  const Vars x = {V(Tensor<double>{0.3, -1.0}), V(Tensor<double>{2.0, 0.7})};
  CHECK_NOTHROW(check_gradients(checked, x, {.order = 2}));
  for (const Function<double>& f : {direct, checked}) CHECK(f(x).item() == direct(x).item());
}

TEST_CASE("checkpoint: a function may return a captured variable as it is") {
  const V a = V::filled({2}, 0.5, true), b = exp(a);
  const MultiFunction<double> f = [b](const Vars& x) { return Vars{x[0] * 2.0, b, x[0]}; };
  const Vars y = checkpoint(f, {a});
  const V loss = sum(y[0] * y[1] + y[2]);
  CHECK(grad(loss, {a}, {.retain_graph = true})[0].value()(0) ==
        doctest::Approx(2 * std::exp(0.5) * 1.5 + 1).epsilon(1e-15));
  CHECK(grad(loss, {a}, {.create_graph = true})[0].value()(1) ==
        doctest::Approx(2 * std::exp(0.5) * 1.5 + 1).epsilon(1e-15));
}

TEST_CASE("checkpoint: memory of a chain grows with the square root of its length") {
  const std::int64_t steps = 400, n = 10000;
  V x = V::filled({n}, 0.5, true), w = V::filled({}, 1.01, true);
  const auto step = [&](std::int64_t, const Vars& s) { return Vars{tanh(s[0] * w)}; };
  Vars plain{x};
  for (std::int64_t t = 0; t < steps; ++t) plain = step(t, plain);
  sum(plain[0]).backward();
  const double by_x = x.gradient()(7), by_w = w.gradient()();
  plain.clear();
  x.zero_gradient();
  w.zero_gradient();
  reset_peak_memory();
  const auto before = memory_statistics().in_use;
  sum(checkpoint_steps<double>(step, {x}, steps)[0]).backward();
  const auto peak = memory_statistics().peak - before;
  CHECK(x.gradient()(7) == doctest::Approx(by_x).epsilon(1e-13));
  CHECK(w.gradient()() == doctest::Approx(by_w).epsilon(1e-13));
  // 20 segments and 20 steps of two kept values each, against 800 values.
  CHECK(peak < 80 * n * 8 * 5 / 4);
}
