#include <tapestry/autodiff/tape.hpp>

#include <cmath>
#include <sstream>
#include <thread>

#include <doctest/doctest.h>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>

using namespace tapestry;

namespace {

Var<double> leaf(double value) {
  return Var<double>::filled({}, value, true);
}

}  // namespace

TEST_CASE("tape: gradients of a small expression") {
  Var<double> x = leaf(2), y = leaf(3);
  const Var<double> z = x * y + exp(x) - x / y;
  CHECK(z.item() == doctest::Approx(6 + std::exp(2) - 2.0 / 3));
  z.backward();
  CHECK(x.gradient()() == doctest::Approx(3 + std::exp(2) - 1.0 / 3));
  CHECK(y.gradient()() == doctest::Approx(2 + 2.0 / 9));
}

TEST_CASE("tape: gradients accumulate over passes, and the same variable may be used often") {
  Var<double> x = leaf(3);
  (x * x).backward();
  CHECK(x.gradient()() == 6);
  (x * x * x).backward();
  CHECK(x.gradient()() == 6 + 27);
  x.zero_gradient();
  CHECK_FALSE(x.has_gradient());
}

TEST_CASE("tape: what can't be reached leaves the tape at once") {
  Var<double> x = leaf(1);
  const std::size_t before = Tape::current().nodes();
  {
    Var<double> y = x;
    for (int i = 0; i < 100; ++i) y = y * x;
    CHECK(Tape::current().nodes() == before + 100);
    y = x;
    CHECK(Tape::current().nodes() == before);
  }
}

TEST_CASE("tape: a training loop holds constant memory and makes no system calls") {
  Var<float> w = Var<float>::filled({64, 64}, 0.5f, true);
  std::size_t in_use = 0, calls = 0;
  for (int step = 0; step < 10000; ++step) {
    w.zero_gradient();
    sum(square(w) * w).backward();
    if (step == 100) in_use = memory_statistics().in_use, calls = memory_statistics().system_calls;
  }
  CHECK(memory_statistics().in_use == in_use);
  CHECK(memory_statistics().system_calls == calls);
}

TEST_CASE("tape: a chain of a million operations is walked and freed without recursion") {
  Var<double> x = leaf(1);
  Var<double> y = x;
  for (int i = 0; i < 1000000; ++i) y = y + x;
  y.backward();
  CHECK(x.gradient()() == 1000001);
  y = x;
  for (int i = 0; i < 1000000; ++i) y = y * x;
  y = Var<double>();
  CHECK(Tape::current().nodes() == 0);
}

TEST_CASE("tape: a second pass needs retain_graph") {
  Var<double> x = leaf(2);
  const Var<double> y = x * x;
  y.backward({.retain_graph = true});
  y.backward();
  CHECK(x.gradient()() == 8);
  CHECK_THROWS_AS(y.backward(), GraphError);
  CHECK(x.gradient()() == 8);
  const Var<double> z = y * x;
  CHECK_THROWS_AS(z.backward(), GraphError);
  CHECK(x.gradient()() == 8);
}

TEST_CASE("tape: variables of a cleared tape are refused") {
  Var<double> x = leaf(2);
  Var<double> y = x * x;
  Tape::current().clear();
  CHECK(Tape::current().nodes() == 0);
  CHECK_THROWS_AS(y.value(), GraphError);
  CHECK_THROWS_AS(y * x, GraphError);
  CHECK_THROWS_AS(y.backward(), GraphError);
  CHECK((x * x).item() == 4);
}

TEST_CASE("tape: several tapes, and refusal to mix them") {
  Var<double> x = leaf(2);
  Var<double> y = x * x;
  Tape other;
  {
    const UseTape use(other);
    CHECK_THROWS_AS(y * x, GraphError);
    Var<double> z = x * x * x;
    CHECK(other.nodes() == 2);
    z.backward();
    CHECK(x.gradient()() == 12);
  }
  CHECK(Tape::current().nodes() == 1);
  std::ostringstream text;
  Tape::current().print(text);
  CHECK(text.str().find("multiply [](leaf [], leaf [])") != std::string::npos);
}

TEST_CASE("tape: changes in place are detected where the old value is needed") {
  Var<double> x = leaf(2);
  const Var<double> y = x * x, z = x + x;
  x.mutable_value()() = 5;
  CHECK_THROWS_WITH_AS(y.backward(),
                       "multiply: an input of shape [] was changed in place after it was recorded, and its gradient "
                       "needs the old value",
                       GraphError);
  z.backward();
  CHECK(x.gradient()() == 2);
  Var<double> recorded = x * x;
  CHECK_THROWS_AS(recorded.mutable_value(), GraphError);
  // A result's memory is reached through a detached variable.
  const Var<double> e = exp(x);
  e.detach().mutable_value()() = 1;
  CHECK_THROWS_WITH_AS(e.backward(),
                       "exp: the output of shape [] was changed in place after it was recorded, and its gradient "
                       "needs the old value",
                       GraphError);
}

TEST_CASE("tape: no_grad and detach cut the graph") {
  Var<double> x = leaf(2);
  {
    const NoGradients off;
    CHECK_FALSE((x * x).requires_grad());
  }
  const Var<double> y = (x * x).detach() * x;
  y.backward();
  CHECK(x.gradient()() == 4);
  CHECK_THROWS_AS((x * x).detach().backward(), GraphError);
}

TEST_CASE("tape: gradients of intermediate variables on request") {
  Var<double> x = leaf(2);
  Var<double> y = x * x;
  y.retain_gradient();
  (y * y).backward();
  CHECK(y.gradient()() == 8);
  CHECK(x.gradient()() == 32);
}

TEST_CASE("tape: values that no rule reads are freed early") {
  Var<float> x = Var<float>::filled({1000}, 1.f, true);
  Var<float> y = x + x;
  for (int i = 0; i < 10; ++i) y = y + x;
  CHECK(Tape::current().bytes() == 4000);
}

TEST_CASE("tape: anomaly detection names the operation") {
  const DetectAnomaly on;
  const Scope scope("encoder");
  Var<double> x = leaf(-1);
  CHECK_THROWS_WITH_AS(log(x), "log: the result is not finite; inputs of shapes [] (in encoder)", NumericalError);
  Var<double> zero = leaf(0);
  const Var<double> y = sqrt(zero);
  CHECK_THROWS_WITH_AS(y.backward(), "sqrt: the gradient of input 0 of shape [] is not finite (in encoder)",
                       NumericalError);
  CHECK_FALSE(zero.has_gradient());
}

TEST_CASE("tape: threads record their own tapes and share leaves") {
  Var<double> x = leaf(2);
  const auto work = [&] {
    for (int i = 0; i < 1000; ++i) (x * x).backward();
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(x.gradient()() == 8000);
}

TEST_CASE("tape: broadcasting sums gradients") {
  Var<double> a = Var<double>::filled({2, 1, 3}, 2.0, true), b = Var<double>::filled({4, 1}, 3.0, true);
  const Var<double> y = sum(a * b + b);
  CHECK(y.item() == 24 * 9);
  y.backward();
  CHECK(a.gradient()(0, 0, 0) == 12);
  CHECK(b.gradient()(0, 0) == 18);
}

TEST_CASE("tape: a leaf that only the graph holds outlives the sweep that frees the graph") {
  for (int i = 0; i < 20; ++i) {
    Var<double> y, kept = leaf(3);
    {
      const Var<double> x = Var<double>::filled({64, 4}, 1.0, true);
      y = sum(reshape(x, Shape{4, 64}) * kept);
    }
    y.backward();
    CHECK(kept.gradient()() == 256);
  }
}

TEST_CASE("tape: a gradient that is one number for all elements is that for every kind of operation") {
  const Shape shape{3, 700};
  const auto ramp = [&](double low, double step) {
    Tensor<double> x = empty_tensor<double>(shape);
    for (std::int64_t i = 0; i < shape.elements(); ++i) x.data()[i] = low + step * static_cast<double>(i);
    return Var<double>(std::move(x), true);
  };
  const auto check = [&](auto f) {
    // The weights make the second gradient an array, to the same numbers.
    Var<double> a = ramp(0.5, 1e-3), b = ramp(2, -5e-4);
    (-2.5 * sum(f(a, b))).backward();
    const Tensor<double> to_a = a.gradient(), to_b = b.has_gradient() ? Tensor<double>(b.gradient()) : to_a;
    a.zero_gradient(), b.zero_gradient();
    const Var<double> y = f(a, b);
    sum(Var<double>::filled(y.shape(), -2.5) * y).backward();
    double largest = 0;
    for (std::int64_t i = 0; i < shape.elements(); ++i) {
      largest = std::max(largest, std::abs(to_a.data()[i] - a.gradient().data()[i]));
      if (b.has_gradient()) largest = std::max(largest, std::abs(to_b.data()[i] - b.gradient().data()[i]));
    }
    CHECK(largest < 1e-13);
  };
  check([](auto a, auto b) { return a * b; });
  check([](auto a, auto b) { return a + b; });
  check([](auto a, auto b) { return a - b + a; });
  check([](auto a, auto b) { return tanh(a) / b; });
  check([](auto a, auto b) { return exp(a) + sum(b, {0}); });
  check([](auto a, auto) { return a; });
  check([](auto a, auto b) { return sum(a * b, {1}) + sum(a); });
  check([](auto a, auto b) { return a + sum(b, {1}, true); });

  // Kept where it is asked for, and not confused with what is added to it later.
  Var<double> x = ramp(1, 1e-3);
  Var<double> y = square(x);
  y.retain_gradient();
  const Var<double> twice = exp(y);
  (sum(y) + sum(twice)).backward();
  CHECK(y.gradient()(1, 5) == doctest::Approx(1 + twice.value()(1, 5)));
  CHECK(x.gradient()(1, 5) == doctest::Approx((1 + twice.value()(1, 5)) * 2 * x.value()(1, 5)));
}
