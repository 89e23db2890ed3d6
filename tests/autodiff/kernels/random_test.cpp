#include <tapestry/autodiff/kernels/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "architectures.hpp"

using namespace tapestry;
using namespace tapestry::test;

namespace {

/// The bits of fill(table, out) are the same with every instruction set.
template <class T, class Table, class Fill>
void check_instruction_sets(std::size_t n, Fill fill) {
  const auto all = tables<Table>();
  std::vector<T> expected(n), actual(n);
  fill(*all[0].table, expected.data());
  for (const auto& set : all) {
    fill(*set.table, actual.data());
    CHECK_MESSAGE(std::memcmp(actual.data(), expected.data(), n * sizeof(T)) == 0, set.name);
  }
}

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
  for (const auto& set : tables<detail::PhiloxKernels>()) {
    for (const Answer& a : answers) {
      std::uint32_t out[4];
      set.table->words({a.key, a.high}, a.low, out, 1);
      for (int i = 0; i < 4; ++i) CHECK(out[i] == a.words[i]);
    }
  }
}

TEST_CASE("philox: word i depends on its place only, carries included") {
  const detail::PhiloxStream stream{7, 9};
  const std::uint64_t start = 0xfffffff0u;
  for (const auto& set : tables<detail::PhiloxKernels>()) {
    std::vector<std::uint32_t> all(4 * 37), one(4);
    set.table->words(stream, start, all.data(), 37);
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

TEST_CASE_TEMPLATE("random kernels: exponential numbers are the logarithms of their words", T, float, double) {
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

TEST_CASE("random kernels: small float probabilities are met to 2^-32") {
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
