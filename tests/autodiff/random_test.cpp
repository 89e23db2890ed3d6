#include <tapestry/autodiff/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>

using namespace tapestry;

namespace {

using Numbers = std::vector<double>;

template <class T>
Numbers numbers(const Tensor<T>& x) {
  return Numbers(x.begin(), x.end());
}

double mean(const Numbers& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

/// Mean and variance within 5 standard errors (a false alarm in 1.7 million); the error of the variance from the
/// distribution's kurtosis.
void check_moments(const Numbers& x, double expected_mean, double expected_variance, double kurtosis = 3) {
  const double n = static_cast<double>(x.size()), m = mean(x);
  double variance = 0;
  for (const double v : x) variance += (v - expected_mean) * (v - expected_mean) / n;
  CHECK(std::abs(m - expected_mean) < 5 * std::sqrt(expected_variance / n));
  CHECK(std::abs(variance - expected_variance) < 5 * expected_variance * std::sqrt((kurtosis - 1) / n));
}

/// Kolmogorov and Smirnov's distance below the critical value at p = 1e-6: sqrt(log(2 / p) / 2) = 2.69.
template <class Cdf>
void check_distribution(Numbers x, Cdf cdf) {
  std::sort(x.begin(), x.end());
  const double n = static_cast<double>(x.size());
  double distance = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double f = cdf(x[i]);
    distance = std::max({distance, f - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - f});
  }
  CHECK(distance * std::sqrt(n) < 2.69);
}

/// Chi-square below its quantile at p = 1e-6, by Wilson and Hilferty's approximation (z = 4.75).
void check_counts(const std::vector<double>& counts, const std::vector<double>& probabilities) {
  const double n = std::accumulate(counts.begin(), counts.end(), 0.0);
  double chi = 0, k = -1;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = n * probabilities[i];
    if (probabilities[i] == 0) {
      CHECK(counts[i] == 0);
      continue;
    }
    chi += (counts[i] - expected) * (counts[i] - expected) / expected;
    k += 1;
  }
  const double cube = 1 - 2 / (9 * k) + 4.75 * std::sqrt(2 / (9 * k));
  CHECK(chi < k * cube * cube * cube);
}

double normal_cdf(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0));
}

double correlation(const Numbers& x, const Numbers& y, std::size_t lag = 0) {
  const double mx = mean(x), my = mean(y);
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i + lag < x.size(); ++i) {
    xy += (x[i] - mx) * (y[i + lag] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i + lag] - my) * (y[i + lag] - my);
  }
  return xy / std::sqrt(xx * yy);
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}
template <class T>
bool same_bits(const Tensor<T>& a, const Tensor<T>& b) {
  return shape_of(a) == shape_of(b) && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class Table>
std::vector<const Table*> tables() {
  std::vector<const Table*> all{&detail::baseline::kernels<Table>()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all.push_back(&detail::avx2::kernels<Table>());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    all.push_back(&detail::avx512::kernels<Table>());
#endif
  return all;
}

/// The bits of fill(table, out) are the same with every instruction set.
template <class T, class Table, class Fill>
void check_instruction_sets(std::size_t n, Fill fill) {
  const auto all = tables<Table>();
  std::vector<T> expected(n), actual(n);
  fill(*all[0], expected.data());
  for (const Table* table : all) {
    fill(*table, actual.data());
    CHECK(same_bits(actual, expected));
  }
}

constexpr std::int64_t many = 200000;

}  // namespace

// The vectors of the Random123 distribution (kat_vectors).
TEST_CASE("philox: known answers") {
  struct Answer {
    std::uint64_t low, high, key;
    std::uint32_t words[4];
  };
  const Answer answers[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0ull, ~0ull, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x85a308d3243f6a88, 0x0370734413198a2e, 0x299f31d0a4093822, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (const auto* table : tables<detail::PhiloxKernels>()) {
    for (const Answer& a : answers) {
      std::uint32_t out[4];
      table->words({a.key, a.high}, a.low, out, 1);
      for (int i = 0; i < 4; ++i) CHECK(out[i] == a.words[i]);
    }
  }
}

TEST_CASE("philox: word i depends on its place only, carries included") {
  const detail::PhiloxStream stream{7, 9};
  const std::uint64_t start = 0xfffffff0u;
  for (const auto* table : tables<detail::PhiloxKernels>()) {
    std::vector<std::uint32_t> all(4 * 37), one(4);
    table->words(stream, start, all.data(), 37);
    for (std::size_t i = 0; i < 37; ++i) {
      detail::baseline::kernels<detail::PhiloxKernels>().words(stream, start + i, one.data(), 1);
      CHECK(std::equal(one.begin(), one.end(), all.begin() + static_cast<std::ptrdiff_t>(4 * i)));
    }
  }
}

TEST_CASE_TEMPLATE("random kernels: the same bits on every instruction set", T, float, double) {
  using Table = detail::RandomKernels<T>;
  const detail::PhiloxStream s{0x123456789abcdef, 42};
  const std::uint64_t at = 0xffffffc0u;
  std::vector<T> p(40000);
  for (std::size_t i = 0; i < p.size(); ++i) p[i] = static_cast<T>(i) / static_cast<T>(p.size() - 1);
  for (const std::size_t n : {std::size_t{1}, std::size_t{37}, std::size_t{512}, std::size_t{40000}}) {
    check_instruction_sets<T, Table>(n, [&](const Table& t, T* out) { t.uniform(s, at, 0, 1, 1, out, n); });
    check_instruction_sets<T, Table>(n,
                                     [&](const Table& t, T* out) { t.uniform(s, at, T(-.3), T(.7), T(.4), out, n); });
    check_instruction_sets<T, Table>(n, [&](const Table& t, T* out) { t.normal(s, at, T(.1), T(1.7), out, n); });
    check_instruction_sets<T, Table>(n, [&](const Table& t, T* out) { t.exponential(s, at, T(1.3), out, n); });
    check_instruction_sets<T, Table>(n, [&](const Table& t, T* out) { t.gumbel(s, at, out, n); });
    check_instruction_sets<T, Table>(n, [&](const Table& t, T* out) { t.bernoulli(s, at, p.data(), 1, out, n); });
    check_instruction_sets<T, Table>(n, [&](const Table& t, T* out) { t.bernoulli(s, at, &p[n / 2], 0, out, n); });
    check_instruction_sets<T, Table>(n, [&](const Table& t, T* out) { t.exponentials(p.data(), T(.9), out, n); });
  }
}

TEST_CASE("random kernels: rejection methods give the same bits on every instruction set") {
  using Table = detail::PhiloxKernels;
  const detail::PhiloxStream s{3, 0xfedcba9876543210u};
  const std::size_t n = 5003;
  std::vector<double> a(n);
  for (std::size_t i = 0; i < n; ++i) a[i] = 0.01 + 0.01 * static_cast<double>(i);
  check_instruction_sets<double, Table>(n, [&](const Table& t, double* y) { t.log_gamma(s, 5, a.data(), 1, y, n); });
  check_instruction_sets<double, Table>(n, [&](const Table& t, double* y) { t.poisson(s, 5, a.data(), 1, y, n); });
}

TEST_CASE("random kernels: exponentials") {
  for (const double x : {0.0, -1e-300, -0.3, -1.0, -20.0, -700.0, 3.5, 700.0}) {
    double y;
    detail::kernels<detail::RandomKernels<double>>().exponentials(&x, 0, &y, 1);
    CHECK(y == doctest::Approx(std::exp(x)).epsilon(1e-15));
  }
  for (const float x : {0.f, -0.3f, -1.f, -20.f, -86.f, 3.5f, 87.f}) {
    float y;
    detail::kernels<detail::RandomKernels<float>>().exponentials(&x, 0, &y, 1);
    CHECK(y == doctest::Approx(std::exp(x)).epsilon(3e-7));
  }
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  double y = 1;
  detail::kernels<detail::RandomKernels<double>>().exponentials(&minus_infinity, 3, &y, 1);
  CHECK(y == 0);
}

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

TEST_CASE_TEMPLATE("generator: exponential numbers are the logarithms of their words", T, float, double) {
  constexpr std::size_t n = 4096, width = sizeof(T) / 4;
  std::vector<std::uint32_t> words(n * width);
  std::vector<T> x(n), z(n);
  const detail::PhiloxStream s{1, 2};
  detail::kernels<detail::PhiloxKernels>().words(s, 0, words.data(), n * width / 4);
  detail::kernels<detail::RandomKernels<T>>().exponential(s, 0, 1, x.data(), n);
  detail::kernels<detail::RandomKernels<T>>().normal(s, 0, 0, 1, z.data(), n);
  const long double eps = std::numeric_limits<T>::epsilon();
  const auto unit = [&](std::size_t i) {
    if (width == 1) return (words[i] + 0.5L) * 0x1p-32L;
    const std::uint64_t w = words[2 * i] | std::uint64_t{words[2 * i + 1]} << 32;
    return (static_cast<long double>(w >> 11) + 0.5L) * 0x1p-53L;
  };
  long double worst = 0, worst_normal = 0;
  constexpr std::size_t half = 64 / sizeof(T);
  for (std::size_t i = 0; i < n; ++i) {
    const long double e = -std::log(unit(i));
    worst = std::max(worst, std::abs(static_cast<long double>(x[i]) - e) / e);
    if (i / half % 2 == 0) {
      const long double r2 =
          static_cast<long double>(z[i]) * z[i] + static_cast<long double>(z[i + half]) * z[i + half];
      worst_normal = std::max(worst_normal, std::abs(r2 - 2 * e) / (2 * e));
    }
  }
  CHECK(worst < 3 * eps);
  CHECK(worst_normal < 8 * eps);
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

TEST_CASE("generator: small float probabilities are met to 2^-32") {
  // The words below the threshold 5 of 2^32: none of these, so count by brute force over crafted thresholds instead.
  const detail::PhiloxStream s{1, 1};
  std::vector<std::uint32_t> words(512);
  detail::kernels<detail::PhiloxKernels>().words(s, 0, words.data(), 128);
  for (std::size_t i = 0; i < words.size(); ++i) {
    // The nearest floats around the word's own number decide as exact arithmetic does.
    const float u = static_cast<float>(words[i]) * 0x1p-32f;
    for (const float p : {std::nextafter(u, 0.f), u, std::nextafter(u, 1.f)}) {
      std::vector<float> all(512, p), out(512);
      detail::kernels<detail::RandomKernels<float>>().bernoulli(s, 0, all.data(), 1, out.data(), 512);
      REQUIRE(out[i] == (static_cast<double>(words[i]) < std::floor(static_cast<double>(p) * 0x1p32) ? 1.f : 0.f));
    }
  }
}

TEST_CASE("generator: integers") {
  Generator g(15);
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{2}, std::int64_t{7}, std::int64_t{1000}}) {
    std::vector<double> counts(static_cast<std::size_t>(n)), p(counts.size(), 1. / static_cast<double>(n));
    for (const std::int64_t v : g.integers({many}, n)) counts.at(static_cast<std::size_t>(v)) += 1;
    if (n == 1) CHECK(counts[0] == many);
    if (n > 1) check_counts(counts, p);
  }
  // Ranges of 3/4 of the word, where plain reduction would favour the lower third two to one.
  for (const std::int64_t n : {std::int64_t{3} << 30, std::int64_t{3} << 61}) {
    std::vector<double> counts(3);
    for (const std::int64_t v : g.integers({many}, n)) counts.at(static_cast<std::size_t>(v / (n / 3))) += 1;
    check_counts(counts, {1. / 3, 1. / 3, 1. / 3});
  }
  const std::int64_t low = std::numeric_limits<std::int64_t>::min(), high = std::numeric_limits<std::int64_t>::max();
  Numbers all;
  for (const std::int64_t v : g.integers({many}, low, high)) all.push_back(static_cast<double>(v) * 0x1p-64 + 0.5);
  check_distribution(all, [](double v) { return v; });
  for (const std::int64_t v : g.integers({1000}, -3, -1)) REQUIRE((v == -3 || v == -2));
  std::vector<double> counts(5);
  for (int i = 0; i < 20000; ++i) counts.at(static_cast<std::size_t>(g.integer(5))) += 1;
  check_counts(counts, Numbers(5, 0.2));
}

TEST_CASE("generator: permutation") {
  Generator g(16);
  CHECK(g.permutation(0).size() == 0);
  CHECK(g.permutation(1)(0) == 0);
  IndexTensor p = g.permutation(5000);
  std::sort(p.begin(), p.end());
  for (std::int64_t i = 0; i < 5000; ++i) REQUIRE(p(static_cast<std::size_t>(i)) == i);
  std::vector<double> counts(64);
  for (int i = 0; i < 24000; ++i) {
    const IndexTensor q = g.permutation(4);
    counts[static_cast<std::size_t>(q(0) * 16 + q(1) * 4 + q(2))] += 1;
  }
  std::vector<double> expected(64, 0);
  for (int a = 0; a < 4; ++a)
    for (int b = 0; b < 4; ++b)
      for (int c = 0; c < 4; ++c)
        if (a != b && b != c && a != c) expected[static_cast<std::size_t>(a * 16 + b * 4 + c)] = 1. / 24;
  check_counts(counts, expected);
}

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
