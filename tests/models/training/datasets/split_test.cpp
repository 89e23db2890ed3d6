#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/datasets/split.hpp>

#include <algorithm>
#include <numeric>

#include <doctest/doctest.h>

using namespace tapestry;

namespace {

using Ints = std::vector<std::int64_t>;

void check_partition(const Split& part, std::int64_t n) {
  Ints all = part.train, expected(static_cast<std::size_t>(n));
  all.insert(all.end(), part.test.begin(), part.test.end());
  std::sort(all.begin(), all.end());
  std::iota(expected.begin(), expected.end(), 0);
  CHECK(all == expected);
  CHECK(std::is_sorted(part.train.begin(), part.train.end()));
  CHECK(std::is_sorted(part.test.begin(), part.test.end()));
}

}  // namespace

TEST_CASE("k_fold: folds are a partition of nearly equal parts") {
  const auto splits = k_fold(23, 5, 1);
  REQUIRE(splits.size() == 5);
  Ints tested;
  for (const auto& part : splits) {
    check_partition(part, 23);
    CHECK((part.test.size() == 4 || part.test.size() == 5));
    tested.insert(tested.end(), part.test.begin(), part.test.end());
  }
  std::sort(tested.begin(), tested.end());
  CHECK(std::adjacent_find(tested.begin(), tested.end()) == tested.end());
  CHECK(tested.size() == 23);
  CHECK(k_fold(23, 5, 1)[0].test == splits[0].test);
  CHECK(k_fold(23, 5, 2)[0].test != splits[0].test);
  CHECK_THROWS_AS(k_fold(4, 5, 0), Error);
  CHECK_THROWS_AS(k_fold(4, 1, 0), Error);
}

TEST_CASE("stratified splits keep the classes' shares") {
  Ints classes;
  for (int i = 0; i < 97; ++i) classes.push_back(i % 10 < 6 ? 0 : i % 10 < 9 ? 5 : -2);
  const auto count = [&](const Ints& part, std::int64_t c) {
    return std::count_if(part.begin(), part.end(),
                         [&](std::int64_t i) { return classes[static_cast<std::size_t>(i)] == c; });
  };
  const auto splits = stratified_k_fold(classes, 4, 3);
  Ints tested;
  for (const auto& part : splits) tested.insert(tested.end(), part.test.begin(), part.test.end());
  std::sort(tested.begin(), tested.end());
  Ints all(97);
  std::iota(all.begin(), all.end(), 0);
  CHECK(tested == all);
  for (const std::int64_t c : {0, 5, -2}) {
    Ints counts;
    for (const auto& part : splits) {
      check_partition(part, 97);
      counts.push_back(count(part.test, c));
    }
    const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
    CHECK(*most - *least <= 1);
  }
  const auto part = stratified_split(classes, 0.3, 9);
  check_partition(part, 97);
  CHECK(part.test.size() == 29);
  for (const std::int64_t c : {0, 5, -2}) {
    const double share = static_cast<double>(count(part.test, c)) -
                         0.3 * static_cast<double>(count(part.test, c) + count(part.train, c));
    CHECK(std::abs(share) <= 1);
  }
}

TEST_CASE("split: sizes, edges") {
  const auto part = split(10, 0.25, 3);
  check_partition(part, 10);
  CHECK(part.test.size() == 3);
  CHECK(split(10, 0, 3).test.empty());
  CHECK(split(10, 1, 3).train.empty());
  CHECK(split(0, 0.5, 3).train.empty());
  CHECK_THROWS_AS(split(10, 1.5, 3), Error);
}
