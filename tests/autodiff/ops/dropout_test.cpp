#include <tapestry/autodiff/ops/dropout.hpp>

#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/threads.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

using V = Var<double>;

TEST_CASE("dropout: elements are dropped or scaled, as many as asked for, and the gradient is the mask") {
  Generator generator(1);
  for (const double p : {0.25, 0.5, 0.9}) {
    V x = V::filled({200000}, 2.0, true);
    const V y = dropout(x, p, generator);
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < y.size(); ++i) {
      if (y.data()[i] != 0) CHECK(y.data()[i] == doctest::Approx(2 / (1 - p)).epsilon(1e-15));
      kept += y.data()[i] != 0;
    }
    // Five standard deviations.
    CHECK(std::abs(static_cast<double>(kept) / 200000 - (1 - p)) < 5 * std::sqrt(p * (1 - p) / 200000));
    sum(y * 3.0).backward();
    for (std::int64_t i = 0; i < y.size(); ++i) CHECK(x.gradient().data()[i] == doctest::Approx(1.5 * y.data()[i]));
  }
}

TEST_CASE("dropout: the fused backward is the rule; the second derivative knows the mask") {
  check_fused_backward(
      [](const std::vector<V>& v) {
        Generator generator(5);
        return dropout(v[0], 0.3, generator);
      },
      {{7, 9}});
  Generator generator(2);
  std::vector<V> x{V(normal_values({50}, 1), true)};
  const V y = dropout(x[0], 0.5, generator);
  const V g = grad(sum(y * y), x, {.create_graph = true})[0];
  const V h = grad(sum(g), x)[0];
  for (std::int64_t i = 0; i < 50; ++i) CHECK(h.data()[i] == doctest::Approx(y.data()[i] == 0 ? 0.0 : 8.0));
}

TEST_CASE("dropout: calls differ, a seed repeats, threads do not matter, float keeps what double keeps") {
  const int before = threads();
  const V x = V::ones({30001});
  std::vector<Tensor<double>> runs;
  for (const int count : {1, 3}) {
    set_threads(count);
    Generator generator(9);
    runs.push_back(dropout(x, 0.5, generator).tensor());
    runs.push_back(dropout(x, 0.5, generator).tensor());
  }
  set_threads(before);
  CHECK(runs[0] == runs[2]);
  CHECK(runs[1] == runs[3]);
  CHECK(runs[0] != runs[1]);
  Generator generator(9);
  CHECK(Tensor<double>(xt::cast<double>(dropout(Var<float>::ones({30001}), 0.5, generator).value())) == runs[0]);
}

TEST_CASE("dropout: nothing and everything; what is dropped is zero, whatever it was") {
  Generator generator(1);
  const double inf = std::numeric_limits<double>::infinity();
  const V x(Tensor<double>{inf, -inf, std::numeric_limits<double>::quiet_NaN()});
  CHECK(dropout(x, 0, generator).node() == x.node());
  CHECK(dropout(x, 1, generator).tensor() == Tensor<double>{0, 0, 0});
  V y = V::ones({3}).set_requires_grad(true);
  sum(dropout(y, 1, generator)).backward();
  CHECK(Tensor<double>(y.gradient()) == Tensor<double>{0, 0, 0});
  CHECK(dropout(V::ones({0, 3}), 0.5, generator).shape() == Shape{0, 3});
  CHECK_THROWS_WITH_AS(dropout(x, 1.5, generator), "dropout: the probability 1.5 is not within 0 and 1",
                       NumericalError);
  CHECK_THROWS_AS(dropout(x, std::numeric_limits<double>::quiet_NaN(), generator), NumericalError);
}
