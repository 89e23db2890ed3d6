#include <tapestry/autodiff/random.hpp>

#include <algorithm>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "statistics.hpp"

using namespace tapestry;
using namespace tapestry::test;

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
