#include <tapestry/graph/program/program.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

#include <tapestry/autodiff/derivatives.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/dropout.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/special.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/registry.hpp>
#include <tapestry/graph/fixed_point.hpp>
#include <tapestry/graph/unroll.hpp>

using namespace tapestry;

namespace {

template <class T>
Tensor<T> random_values(const Shape& shape, std::uint64_t seed, double low = 0.2, double high = 1.5) {
  return Tensor<T>(xt::cast<T>(uniform_example(shape, low, high)(seed)));
}

template <class T>
Var<T> leaf(const Shape& shape, std::uint64_t seed) {
  return Var<T>(random_values<T>(shape, seed), true);
}

template <class A, class B>
void check_equal(const A& got, const B& right, double tolerance) {
  REQUIRE(shape_of(got) == shape_of(right));
  for (std::size_t i = 0; i < right.size(); ++i)
    CHECK(static_cast<double>(got.data()[i]) ==
          doctest::Approx(static_cast<double>(right.data()[i])).epsilon(tolerance).scale(1));
}

}  // namespace

TEST_CASE("program: reads parameters at each run and adds to their gradients, as the tape does") {
  Var<double> w = leaf<double>({5, 3}, 1), b = leaf<double>({3}, 2);
  const auto f = [&](const Var<double>& x) { return mean(square(tanh(matmul(x, w) + b) - 0.5)); };
  Program<double> program = capture(f, constant(random_values<double>({4, 5}, 3)));
  for (std::uint64_t step = 0; step < 3; ++step) {
    CAPTURE(step);
    const Var<double> x(random_values<double>({4, 5}, 10 + step));
    w.zero_gradient(), b.zero_gradient();
    const Var<double> y = f(x);
    y.backward();
    const Tensor<double> dw = w.gradient(), db = b.gradient();
    w.zero_gradient(), b.zero_gradient();
    program.run_backward(x);
    check_equal(program.output(), y.value(), 1e-14);
    check_equal(w.gradient(), dw, 1e-13);
    check_equal(b.gradient(), db, 1e-13);
    // Another input without zeroing: the sum, as the tape's.
    const Var<double> other(random_values<double>({4, 5}, 30 + step));
    program.run_backward(other);
    const Tensor<double> both_w = w.gradient(), both_b = b.gradient();
    w.zero_gradient(), b.zero_gradient();
    f(other).backward();
    check_equal(both_w, Tensor<double>(dw + w.gradient()), 1e-13);
    check_equal(both_b, Tensor<double>(db + b.gradient()), 1e-13);
    program.run(x);
    check_equal(program.output(), y.value(), 1e-14);
    w.mutable_value() -= 0.1 * dw;
    b.assign(Tensor<double>(b.value() - 0.1 * db));
  }
}

TEST_CASE_TEMPLATE("program: elementwise functions with broadcasting, of one to several blocks", T, float, double) {
  const double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-12;
  const auto f = [](const std::vector<Var<T>>& x) {
    const Var<T>&full = x[0], &row = x[1], &column = x[2], &one = x[3], &other = x[4];
    Var<T> y = full * row + column / one - other;
    y = where(greater(full, other), exp(-y) * y, log1p(square(y)) + row);
    y = maximum(y, row) + minimum(column, other) * sigmoid(full) + pow(full, one);
    y = y * y - full * full + leaky_relu(y - column, T(0.1)) + clamp(full, T(0.4), T(1));
    const Var<T> repeated = broadcast_to(row, full.shape()) * full;
    return std::vector<Var<T>>{sum(y * repeated), y, repeated, sum(y, {0})};
  };
  for (const auto& extents : {std::pair<std::int64_t, std::int64_t>{1, 1}, {3, 1}, {1, 7}, {5, 13}, {40, 900}}) {
    const std::int64_t rows = extents.first, columns = extents.second;
    CAPTURE(rows);
    CAPTURE(columns);
    const auto inputs = [&](std::uint64_t seed) {
      return std::vector<Var<T>>{leaf<T>({rows, columns}, seed), leaf<T>({columns}, seed + 1),
                                 leaf<T>({rows, 1}, seed + 2), leaf<T>({}, seed + 3),
                                 leaf<T>({rows, columns}, seed + 4)};
    };
    Program<T> program = capture<T>(f, inputs(1));
    const std::vector<Var<T>> x = inputs(20);
    const std::vector<Var<T>> right = f(x);
    right[0].backward();
    program.run(std::span(x));
    for (std::size_t k = 1; k < right.size(); ++k) check_equal(program.output(k), right[k].value(), tolerance);
    program.run_backward(std::span(x));
    check_equal(program.output(), right[0].value(), tolerance);
    for (std::size_t k = 1; k < right.size(); ++k) check_equal(program.output(k), right[k].value(), tolerance);
    for (std::size_t i = 0; i < x.size(); ++i) {
      CAPTURE(i);
      const double scale = 1 + std::abs(static_cast<double>(xt::amax(x[i].gradient())()));
      check_equal(Tensor<T>(program.gradient(i) / static_cast<T>(scale)),
                  Tensor<T>(x[i].gradient() / static_cast<T>(scale)), 10 * tolerance);
    }
  }
}

TEST_CASE("program: constants are computed once, the same is not computed twice, and what is not needed not at all") {
  const auto f = [](const Var<double>& x) {
    const Var<double> c = exp(Var<double>(2.0)) * 3.0;                         // two constant operations
    const Var<double> a = tanh(matmul(x, x)) + c, b = tanh(matmul(x, x)) * c;  // matmul and tanh twice
    log(x);                                                                    // not needed
    return sum(a * b);
  };
  Program<double> program = capture(f, leaf<double>({3, 3}, 1));
  CHECK(program.report().recorded == 11);
  CHECK(program.report().folded == 2);
  CHECK(program.report().merged == 2);
  CHECK(program.report().dead == 1);
  // matmul, the fused chain, sum
  CHECK(program.report().forward.steps == 3);
  const Var<double> x = leaf<double>({3, 3}, 2);
  program.run_backward(x);
  const Var<double> y = f(x);
  y.backward();
  check_equal(program.output(), y.value(), 1e-14);
  check_equal(program.gradient(), x.gradient(), 1e-13);
  std::ostringstream text;
  text << program.report();
  CHECK(text.str().find("11 operations recorded: 2 constant, 2 computed twice, 1 not needed") == 0);
}

TEST_CASE("program: a constant that somebody else holds is read at each run") {
  Var<double> held(random_values<double>({2}, 1));
  Program<double> program = capture([&](const Var<double>& x) { return x + exp(held); }, leaf<double>({2}, 2));
  CHECK(program.report().folded == 0);
  held.assign(Tensor<double>{0.0, 1.0});
  program.run(Var<double>(Tensor<double>{1.0, 2.0}));
  CHECK(program.output()(0) == doctest::Approx(2.0));
  CHECK(program.output()(1) == doctest::Approx(2.0 + std::exp(1.0)));
}

TEST_CASE("program: memory is used again, and results take the place of inputs") {
  const auto f = [](const Var<double>& x) {
    Var<double> y = x;
    for (int i = 0; i < 20; ++i) y = matmul(tanh(y), x);
    return y;
  };
  Program<double> program = capture(f, constant(random_values<double>({16, 16}, 1)));
  constexpr std::size_t matrix = 16 * 16 * 8;
  CHECK(program.report().forward.values_bytes == 40 * matrix);
  CHECK(program.report().forward.peak_bytes == 2 * matrix);
  CHECK(program.report().backward.steps == 0);
  const Var<double> x(random_values<double>({16, 16}, 5));
  program.run(x);
  check_equal(program.output(), f(x).value(), 1e-13);
}

TEST_CASE("program: what can't be captured, and inputs that do not fit, are refused") {
  const Var<double> x = leaf<double>({2, 3}, 1);
  const auto branch = [](const Var<double>& a) { return sum(a).item() > 0 ? a : -a; };
  CHECK_THROWS_WITH_AS(capture(branch, x),
                       doctest::Contains("capture: the function reads the value of a variable of shape []"),
                       GraphError);
  const auto backward = [](const Var<double>& a) {
    const Var<double> y = sum(a * a);
    y.backward();
    return y;
  };
  CHECK_THROWS_WITH_AS(capture(backward, x), doctest::Contains("return the result of grad()"), GraphError);
  const Var<double> before = x * 2.0;
  CHECK_THROWS_WITH_AS(capture([&](const Var<double>& a) { return a + before; }, x),
                       doctest::Contains("was computed before"), GraphError);
  CHECK_THROWS_AS(capture<double>([](const std::vector<Var<double>>&) { return std::vector<Var<double>>{}; }, {x}),
                  GraphError);
  const auto best = [](const Var<double>& a) { return a * static_cast<double>(argmax(a, 1)(0)); };
  CHECK_THROWS_WITH_AS(capture(best, x),
                       doctest::Contains("argmax: reads a variable of shape [2, 3], which a captured program can't do"),
                       GraphError);
  const auto solved = [](const Var<double>& a) {
    return fixed_point([&](const Var<double>& z) { return tanh(z * 0.5 + a); }, Var<double>::zeros({2, 3})).state;
  };
  CHECK_THROWS_WITH_AS(
      capture(solved, x),
      "fixed_point: its iterations depend on values, which a captured program can't: use unroll() with a fixed "
      "number of steps",
      GraphError);
  const auto until = [](const Var<double>& a) {
    return unroll([&](const Var<double>& z) { return tanh(z * 0.5 + a); }, Var<double>::zeros({2, 3}), 9,
                  {.tolerance = 1e-3})
        .state;
  };
  CHECK_THROWS_WITH_AS(capture(until, x), doctest::Contains("whether to stop depends on values"), GraphError);
  // Nothing stays behind of a capture that was refused.
  CHECK(solved(x).shape() == x.shape());

  Program<double> program = capture([](const Var<double>& a) { return exp(a); }, x);
  CHECK_THROWS_WITH_AS(program.output(), doctest::Contains("has not run yet"), GraphError);
  CHECK_THROWS_WITH_AS(program.run(leaf<double>({3, 2}, 1)),
                       doctest::Contains("program: input 0 has shape [3, 2], was captured with [2, 3]"), ShapeError);
  CHECK_THROWS_WITH_AS(program.run(x, x), doctest::Contains("takes 1 inputs, not 2"), ShapeError);
  CHECK_THROWS_WITH_AS(program.run(Var<double>()), doctest::Contains("without a value"), GraphError);
  CHECK_THROWS_WITH_AS(program.run_backward(x), doctest::Contains("must have one element"), ShapeError);
  Program<double> constant_input = capture([](const Var<double>& a) { return sum(a); }, x.detach());
  CHECK_THROWS_WITH_AS(constant_input.run_backward(x), doctest::Contains("requires a gradient"), GraphError);
  CHECK_THROWS_WITH_AS(constant_input.gradient(), doctest::Contains("did not require a gradient"), GraphError);
  CHECK_THROWS_AS(Program<double>().run(x), GraphError);
}

TEST_CASE("program: dropout draws anew in each run, and gradients belong to that run's numbers") {
  Generator generator(7);
  const Var<double> x = leaf<double>({1000}, 1);
  Program<double> program = capture<double>(
      [&](const std::vector<Var<double>>& in) {
        const Var<double> y = dropout(in[0], 0.5, generator), z = dropout(Var<double>::ones({1000}), 0.5, generator);
        return std::vector<Var<double>>{sum(y), y, z};
      },
      {x});
  std::vector<Tensor<double>> seen, constants;
  for (int run = 0; run < 3; ++run) {
    program.run_backward(x);
    for (std::size_t i = 0; i < 1000; ++i)
      CHECK(program.output(1)(i) == doctest::Approx(program.gradient()(i) * x.value()(i)));
    seen.emplace_back(program.output(1));
    constants.emplace_back(program.output(2));
  }
  CHECK(seen[0] != seen[1]);
  CHECK(seen[1] != seen[2]);
  CHECK(constants[0] != constants[1]);
}

TEST_CASE("program: gradients taken in the function, and those stopped, are the tape's") {
  const auto f = [](const Var<double>& x) {
    const Var<double> y = sum(exp(x) * x);
    const Var<double> g = grad(y, {x}, {.create_graph = true})[0];
    return sum(square(g)) + sum(x.detach() * x);
  };
  const auto plain = [](const Var<double>& x) { return sum(grad(sum(x * x * x), {x})[0]); };
  const Var<double> x = leaf<double>({6}, 1), again = leaf<double>({6}, 2);
  Program<double> program = capture(f, x), gradient_only = capture(plain, x);
  program.run_backward(again);
  gradient_only.run(again);
  check_equal(gradient_only.output(), plain(again).value(), 1e-14);
  const Var<double> y = f(again);
  y.backward();
  check_equal(program.output(), y.value(), 1e-14);
  check_equal(program.gradient(), again.gradient(), 1e-13);
}

TEST_CASE("program: slices and padding take part in fusion, and what is cheap is computed again for the gradients") {
  constexpr std::int64_t states = 3, side = 24;
  const Var<double> weights = leaf<double>({states, states}, 1);
  const auto f = [&](const Var<double>& x) {
    Var<double> q = x;
    for (int i = 0; i < 4; ++i) {
      const Var<double> up = pad(slice(q, 1, {.start = 1}), {{0, 0}, {0, 1}, {0, 0}}, 0.5);
      const Var<double> left = pad(slice(q, 2, {.stop = -1}), {{0, 0}, {0, 0}, {1, 0}});
      const Var<double> middle = slice(pad(q, {{0, 0}, {2, 2}, {0, 0}}), 1, {.start = 2, .stop = -2});
      const Var<double> all = reshape(up + left * 0.5 + flip(middle, {1}), {states, side * side});
      q = tanh(reshape(matmul(weights, all), q.shape())) * x;
    }
    return sum(q);
  };
  const Shape shape{states, side, side};
  Program<double> program = capture(f, leaf<double>(shape, 2));
  const Var<double> x = leaf<double>(shape, 3);
  const Var<double> y = f(x);
  y.backward();
  const Tensor<double> by_tape = weights.gradient();
  Var<double>(weights).zero_gradient();
  program.run_backward(x);
  check_equal(program.output(), y.value(), 1e-13);
  check_equal(program.gradient(), x.gradient(), 1e-12);
  check_equal(weights.gradient(), by_tape, 1e-12);
  program.run(x);
  check_equal(program.output(), y.value(), 1e-13);
  // For each iteration the padding that is wider than what is kept of it, the sum of the windows (the flip of a slice
  // is one of them), the product and tanh; then the last sum.
  CHECK(program.report().forward.steps == 4 * 4 + 1);
  // For each iteration tanh's result is kept; the sums are not.
  CHECK(program.report().backward.peak_bytes <= 10 * static_cast<std::size_t>(states * side * side) * 8);
}

TEST_CASE("program: a gradient that is still read is not overwritten by what is added to it") {
  const Var<double> w = leaf<double>({40, 40}, 1);
  const auto f = [&](const Var<double>& x) { return sum(square(matmul(x, w) + x)); };
  Program<double> program = capture(f, leaf<double>({30, 40}, 2));
  const Var<double> x = leaf<double>({30, 40}, 3);
  f(x).backward();
  const Tensor<double> by_tape = w.gradient();
  Var<double>(w).zero_gradient();
  program.run_backward(x);
  check_equal(w.gradient(), by_tape, 1e-12);
  check_equal(program.gradient(), x.gradient(), 1e-12);
}
