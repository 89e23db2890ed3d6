#include <tapestry/autodiff/random.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>

#include "statistics.hpp"

using namespace tapestry;
using namespace tapestry::test;

TEST_CASE_TEMPLATE("generator: a fill does not depend on the number of threads", T, float, double) {
  const int before = threads();
  const Shape shape{150001};
  const auto draw = [&](int count) {
    set_threads(count);
    Generator g(5);
    Tensor<T> logits = g.normal<T>({5000, 30});
    std::vector<Tensor<T>> all{g.uniform<T>(shape), g.normal<T>(shape), g.gumbel<T>(shape), g.exponential<T>(shape),
                               g.bernoulli<T>(shape, T(.3))};
    all.push_back(g.gamma<T>(all[0] + T(.1)));
    all.push_back(g.beta<T>(all[0] + T(.1), all[3] + T(.1)));
    all.push_back(g.poisson<T>(all[3] * T(9)));
    std::vector<IndexTensor> indices{g.integers(shape, 1000), g.integers(shape, std::int64_t{3} << 40),
                                     g.categorical(logits)};
    set_threads(before);
    return std::pair(all, indices);
  };
  const auto one = draw(1), two = draw(2);
  for (std::size_t i = 0; i < one.first.size(); ++i) CHECK(same_bits(one.first[i], two.first[i]));
  for (std::size_t i = 0; i < one.second.size(); ++i) CHECK(same_bits(one.second[i], two.second[i]));
}

TEST_CASE("generator: seeds, copies and states") {
  Generator a(1), b(1), c(2);
  const auto x = a.normal<float>({100}), y = b.normal<float>({100});
  CHECK(same_bits(x, y));
  CHECK_FALSE(same_bits(x, c.normal<float>({100})));
  CHECK_FALSE(same_bits(x, a.normal<float>({100})));
  const Generator::State state = a.state();
  const auto next = a.uniform<double>({9});
  Generator resumed = Generator::from_state(state);
  CHECK(same_bits(resumed.uniform<double>({9}), next));
  CHECK(resumed == a);
  std::vector<int> deck{1, 2, 3, 4, 5};
  std::shuffle(deck.begin(), deck.end(), a);
  CHECK(std::accumulate(deck.begin(), deck.end(), 0) == 15);
}

TEST_CASE("generator: the start of a longer fill is the shorter fill") {
  const Tensor<double> longer = Generator(3).normal<double>({1000}), shorter = Generator(3).normal<double>({7});
  CHECK(std::equal(shorter.begin(), shorter.end(), longer.begin()));
}

TEST_CASE_TEMPLATE("generator: uniform", T, float, double) {
  Generator g(11);
  const Numbers x = numbers(g.uniform<T>({many}));
  CHECK(*std::min_element(x.begin(), x.end()) >= 0);
  CHECK(*std::max_element(x.begin(), x.end()) < 1);
  check_moments(x, 0.5, 1. / 12, 1.8);
  check_distribution(x, [](double v) { return v; });
  const double scale = sizeof(T) == 4 ? 0x1p24 : 0x1p53;
  std::vector<double> bits(24, 0), half(24, 0.5);
  for (const double v : x) {
    CHECK_MESSAGE(v * scale == std::floor(v * scale), "a multiple of the unit");
    if (v * scale != std::floor(v * scale)) break;
    for (int b = 0; b < 24; ++b) bits[static_cast<std::size_t>(b)] += std::fmod(std::floor(v * scale / (1 << b)), 2.0);
  }
  for (const double count : bits) CHECK(std::abs(count - many / 2.) < 5 * std::sqrt(many / 4.));
  const Numbers y = numbers(g.uniform<T>({many}, T(-2), T(5)));
  check_distribution(y, [](double v) { return (v + 2) / 7; });
  for (const double v : numbers(g.uniform<T>({5}, T(3), T(3)))) CHECK(v == 3);
  // Rounding up to the upper end is undone.
  const T next = std::nextafter(T(1), T(2));
  for (const double v : numbers(g.uniform<T>({1000}, T(1), next))) CHECK(v == 1);
}

TEST_CASE_TEMPLATE("generator: normal", T, float, double) {
  Generator g(12);
  const Numbers x = numbers(g.normal<T>({many}));
  check_moments(x, 0, 1);
  check_distribution(x, normal_cdf);
  check_distribution(numbers(g.normal<T>({many}, T(3), T(2))), [](double v) { return normal_cdf((v - 3) / 2); });
  double fourth = 0;
  for (const double v : x) fourth += v * v * v * v / many;
  CHECK(std::abs(fourth - 3) < 5 * std::sqrt(96. / many));
  // The two numbers of a pair are independent, and so are their squares.
  constexpr std::size_t half = 64 / sizeof(T);
  Numbers first, second;
  for (std::size_t i = 0; i + 2 * half <= x.size(); i += 2 * half) {
    for (std::size_t j = i; j < i + half; ++j) {
      first.push_back(x[j]);
      second.push_back(x[j + half]);
    }
  }
  const double bound = 5 / std::sqrt(static_cast<double>(first.size()));
  CHECK(std::abs(correlation(first, second)) < bound);
  for (double& v : first) v *= v;
  for (double& v : second) v *= v;
  CHECK(std::abs(correlation(first, second)) < bound);
  // Without noise, the mean.
  for (const double v : numbers(g.normal<T>({3}, T(1.5), T(0)))) CHECK(v == 1.5);
}

TEST_CASE_TEMPLATE("generator: exponential and gumbel", T, float, double) {
  Generator g(13);
  const Numbers x = numbers(g.exponential<T>({many}, T(2)));
  CHECK(*std::min_element(x.begin(), x.end()) > 0);
  check_moments(x, 0.5, 0.25, 9);
  check_distribution(x, [](double v) { return -std::expm1(-2 * v); });
  const Numbers y = numbers(g.gumbel<T>({many}));
  check_moments(y, 0.57721566490153286, M_PI * M_PI / 6, 5.4);
  check_distribution(y, [](double v) { return std::exp(-std::exp(-v)); });
}

TEST_CASE_TEMPLATE("generator: bernoulli", T, float, double) {
  Generator g(14);
  for (const double p : {0.5, 0.1, 0.999, 1e-3}) {
    const Numbers x = numbers(g.bernoulli<T>({many}, T(p)));
    double ones = 0;
    for (const double v : x) {
      ones += v;
      if (v != 0 && v != 1) FAIL("neither 0 nor 1");
    }
    CHECK(std::abs(ones - many * p) < 5 * std::sqrt(many * p * (1 - p)));
  }
  for (const double v : numbers(g.bernoulli<T>({many}, T(0)))) REQUIRE(v == 0);
  for (const double v : numbers(g.bernoulli<T>({many}, T(1)))) REQUIRE(v == 1);
  Tensor<T> p = empty_tensor<T>({4, 50001});
  for (std::size_t i = 0; i < p.size(); ++i) p.data()[i] = T(i % 3) / 2;
  const Tensor<T> y = g.bernoulli(p);
  double ones = 0, halves = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (i % 3 != 1) REQUIRE(y.data()[i] == p.data()[i]);
    if (i % 3 == 1) {
      ones += static_cast<double>(y.data()[i]);
      halves += 1;
    }
  }
  CHECK(std::abs(ones - halves / 2) < 5 * std::sqrt(halves / 4));
  // One p, given either way, makes the same numbers.
  p.fill(T(0.37));
  CHECK(same_bits(Generator(3).bernoulli(p), Generator(3).bernoulli<T>({4, 50001}, T(0.37))));
}

TEST_CASE("generator: split streams and neighbouring seeds are independent; numbers are not correlated in sequence") {
  Generator parent(20);
  const std::vector<Generator> children = parent.split(3);
  std::vector<Generator> all(children.begin(), children.end());
  all.push_back(parent);
  all.push_back(parent.split().split());
  all.push_back(Generator(21));
  all.push_back(Generator(20));
  std::vector<Numbers> draws;
  for (Generator& g : all) draws.push_back(numbers(g.uniform<double>({50000})));
  const double bound = 5 / std::sqrt(50000.);
  for (std::size_t i = 0; i < draws.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(std::abs(correlation(draws[i], draws[j])) < bound);
    for (const std::size_t lag : {1, 2, 3, 4, 7, 8, 16, 32, 512})
      CHECK(std::abs(correlation(draws[i], draws[i], lag)) < bound);
  }
  // Pairs of successive numbers fill the square evenly.
  std::vector<double> counts(256);
  for (std::size_t i = 0; i + 1 < draws[0].size(); i += 2)
    counts[static_cast<std::size_t>(draws[0][i] * 16) * 16 + static_cast<std::size_t>(draws[0][i + 1] * 16)] += 1;
  check_counts(counts, Numbers(256, 1. / 256));
}

TEST_CASE("generator: empty shapes and single numbers") {
  Generator g(22);
  const Generator before = g;
  CHECK(shape_of(g.normal<float>({0, 3})) == Shape{0, 3});
  CHECK(g == before);
  CHECK(g.uniform<double>({}).size() == 1);
  Numbers u, z;
  for (int i = 0; i < 20000; ++i) {
    u.push_back(g.uniform());
    z.push_back(g.normal());
  }
  check_distribution(u, [](double v) { return v; });
  check_distribution(z, normal_cdf);
}

TEST_CASE("generator: invalid arguments") {
  Generator g(23);
  const Generator before = g;
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH_AS(g.uniform<double>({2}, 1, 0), "Generator::uniform: no interval from 1 to 0", NumericalError);
  CHECK_THROWS_AS(g.uniform<double>({2}, nan, 1), NumericalError);
  CHECK_THROWS_AS(g.uniform<double>({2}, -1.7e308, 1.7e308), NumericalError);
  CHECK_THROWS_AS(g.normal<double>({2}, 0, -1), NumericalError);
  CHECK_THROWS_AS(g.normal<double>({2}, infinity), NumericalError);
  CHECK_THROWS_AS(g.exponential<double>({2}, 0), NumericalError);
  CHECK_THROWS_AS(g.exponential<double>({2}, nan), NumericalError);
  CHECK_THROWS_WITH_AS(g.bernoulli<double>({2}, 1.5), "Generator::bernoulli: a probability is in [0, 1], got 1.5",
                       NumericalError);
  CHECK_THROWS_AS(g.bernoulli<double>({2}, nan), NumericalError);
  CHECK_THROWS_AS(g.bernoulli(Tensor<double>{0.5, -0.1}), NumericalError);
  CHECK_THROWS_AS(g.integers({2}, 0), NumericalError);
  CHECK_THROWS_AS(g.integers({2}, 3, 3), NumericalError);
  CHECK_THROWS_AS(g.integer(-1), NumericalError);
  CHECK_THROWS_AS(g.permutation(-1), NumericalError);
  CHECK_THROWS_AS(g.split(-1), NumericalError);
  CHECK_THROWS_WITH_AS(g.categorical(Tensor<double>{{0, 0}, {-infinity, -infinity}}),
                       "Generator::categorical: every logit of row 1 is -inf", NumericalError);
  CHECK_THROWS_AS(g.categorical(Tensor<double>{0, nan}), NumericalError);
  CHECK_THROWS_AS(g.categorical(Tensor<double>{0, infinity}), NumericalError);
  CHECK_THROWS_AS(g.categorical(empty_tensor<double>({3, 0})), ShapeError);
  CHECK_THROWS_AS(g.categorical(empty_tensor<double>({})), ShapeError);
  CHECK_THROWS_AS(g.categorical_from_probabilities(Tensor<double>{0, 0}), NumericalError);
  CHECK_THROWS_AS(g.categorical_from_probabilities(Tensor<double>{1, -1}), NumericalError);
  CHECK_THROWS_AS(g.gamma(Tensor<double>{0.0, 1.0}), NumericalError);
  CHECK_THROWS_AS(g.beta(Tensor<double>{1.0, 1.0}, Tensor<double>{1.0, 1.0, 2.0}), ShapeError);
  CHECK_THROWS_AS(g.dirichlet(Tensor<double>{1.0, nan}), NumericalError);
  CHECK_THROWS_AS(g.poisson(Tensor<double>{-1.0, 1.0}), NumericalError);
  CHECK(g == before);
}
