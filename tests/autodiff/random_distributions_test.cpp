#include <tapestry/autodiff/random.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "statistics.hpp"

using namespace tapestry;
using namespace tapestry::test;

TEST_CASE_TEMPLATE("generator: categorical", T, float, double) {
  Generator g(17);
  const T minus_infinity = -std::numeric_limits<T>::infinity();
  const std::vector<double> p{0, 0.1, 0.4, 0, 0.3, 0.2, 0};
  Tensor<T> logits = empty_tensor<T>({2, many / 2, 7}), weights = logits;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    weights.data()[i] = static_cast<T>(3 * p[i % 7]);
    logits.data()[i] = p[i % 7] == 0 ? minus_infinity : static_cast<T>(std::log(p[i % 7]) - 200);
  }
  for (const IndexTensor& draws : {g.categorical(logits), g.categorical_from_probabilities(weights)}) {
    CHECK(shape_of(draws) == Shape{2, many / 2});
    std::vector<double> counts(7);
    for (const std::int64_t v : draws) counts.at(static_cast<std::size_t>(v)) += 1;
    check_counts(counts, p);
  }
  CHECK(g.categorical(empty_tensor<T>({0, 4})).size() == 0);
  CHECK(g.categorical(Tensor<T>{T(5)})() == 0);
}

TEST_CASE_TEMPLATE("generator: gamma, beta and dirichlet", T, float, double) {
  Generator g(18);
  for (const double a : {0.3, 1.0, 2.5, 50.0}) {
    Tensor<T> shape = empty_tensor<T>({many / 4});
    shape.fill(T(a));
    check_moments(numbers(g.gamma(shape)), a, a, 3 + 6 / a);
  }
  Tensor<T> a = empty_tensor<T>({many / 4}), b = a;
  a.fill(T(1));
  check_distribution(numbers(g.gamma(a)), [](double v) { return -std::expm1(-v); });
  a.fill(T(0.5));  // half a squared normal number
  check_distribution(numbers(g.gamma(a)), [](double v) { return std::erf(std::sqrt(v)); });
  a.fill(T(3));
  check_distribution(numbers(g.gamma(a)), [](double v) { return 1 - std::exp(-v) * (1 + v + v * v / 2); });
  a.fill(T(0.5));
  b.fill(T(0.5));  // the arcsine distribution
  check_distribution(numbers(g.beta(a, b)), [](double v) { return 2 / M_PI * std::asin(std::sqrt(v)); });
  a.fill(T(3));
  b.fill(T(1));
  check_distribution(numbers(g.beta(a, b)), [](double v) { return v * v * v; });
  Tensor<T> c = empty_tensor<T>({20000, 3});
  for (std::size_t i = 0; i < c.size(); ++i) c.data()[i] = T(i % 3 + 1);
  const Tensor<T> d = g.dirichlet(c);
  Numbers first;  // Beta(1, 5)
  for (std::size_t i = 0; i < d.size(); i += 3) {
    first.push_back(d.data()[i]);
    REQUIRE(std::abs(d.data()[i] + d.data()[i + 1] + d.data()[i + 2] - 1) < 4 * std::numeric_limits<T>::epsilon());
  }
  check_distribution(first, [](double v) { return 1 - std::pow(1 - v, 5); });
  c.fill(std::numeric_limits<T>::min());  // nearly all mass on one corner, never NaN
  for (const T v : g.dirichlet(c)) REQUIRE((v >= 0 && v <= 1));
}

TEST_CASE_TEMPLATE("generator: poisson", T, float, double) {
  Generator g(19);
  for (const double rate : {0.5, 4.0, 9.99, 10.0, 37.5, 1000.0}) {
    Tensor<T> rates = empty_tensor<T>({many / 4});
    rates.fill(T(rate));
    const Numbers x = numbers(g.poisson(rates));
    check_moments(x, rate, rate, 3 + 1 / rate);
    if (rate > 40) continue;
    // The counts of those that are expected at least ten times; the rest together.
    std::vector<double> counts, p;
    double covered = 0;
    std::vector<std::size_t> slot(200);
    for (std::size_t k = 0; k < 200; ++k) {
      const double q =
          std::exp(static_cast<double>(k) * std::log(rate) - rate - std::lgamma(static_cast<double>(k) + 1));
      slot[k] = 0;
      if (q * many / 4 < 10) continue;
      if (p.empty()) p.push_back(0);
      slot[k] = p.size();
      p.push_back(q);
      covered += q;
    }
    p[0] = 1 - covered;
    counts.resize(p.size());
    for (const double k : x) counts[slot.at(static_cast<std::size_t>(k))] += 1;
    check_counts(counts, p);
  }
  Tensor<T> zero = empty_tensor<T>({5});
  zero.fill(T(0));
  for (const T v : g.poisson(zero)) CHECK(v == 0);
}
