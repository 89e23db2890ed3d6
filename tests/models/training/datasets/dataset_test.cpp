#include <tapestry/models/training/datasets/dataset.hpp>

#include <algorithm>
#include <numeric>
#include <string>

#include <doctest/doctest.h>

using namespace tapestry;

namespace {

using Ints = std::vector<std::int64_t>;

Dataset<std::int64_t> count(std::int64_t n) {
  return Dataset<std::int64_t>::generate(n, [](std::int64_t i) { return i; });
}

template <class T>
std::vector<T> all(const Dataset<T>& data, std::int64_t epoch = 0) {
  std::vector<T> result;
  for (std::int64_t i = 0; i < data.size(); ++i) result.push_back(data.at(i, epoch));
  return result;
}

}  // namespace

TEST_CASE("Dataset: map, batch, take, skip, concat, zip, subset, repeat") {
  const Dataset<std::string> words(std::vector<std::string>{"a", "bb", "ccc"});
  const auto lengths = words.map([](const std::string& word) { return word.size(); });
  static_assert(std::is_same_v<decltype(lengths), const Dataset<std::size_t>>);
  CHECK(all(lengths) == std::vector<std::size_t>{1, 2, 3});
  CHECK(all(count(5).batch(2)) == std::vector<Ints>{{0, 1}, {2, 3}, {4}});
  CHECK(all(count(5).batch(2, true)) == std::vector<Ints>{{0, 1}, {2, 3}});
  CHECK(all(count(4).batch(2, true)).size() == 2);
  CHECK(all(count(5).take(2)) == Ints{0, 1});
  CHECK(all(count(5).take(9)).size() == 5);
  CHECK(all(count(5).skip(3)) == Ints{3, 4});
  CHECK(all(count(2).concat(count(3))) == Ints{0, 1, 0, 1, 2});
  CHECK(all(count(3).repeat(2)) == Ints{0, 1, 2, 0, 1, 2});
  CHECK(count(3).repeat(0).empty());
  CHECK(all(count(5).subset({4, 0, 4})) == Ints{4, 0, 4});
  const auto pairs = count(3).zip(words);
  CHECK(pairs[1] == std::pair<std::int64_t, std::string>(1, "bb"));
  CHECK(Dataset<int>().empty());
}

TEST_CASE("Dataset: a shuffle is a permutation that depends on seed and epoch only") {
  const auto data = count(100).shuffle(7);
  const auto first = all(data), second = all(data, 1);
  CHECK(first != second);
  CHECK(first == all(count(100).shuffle(7)));
  CHECK(first != all(count(100).shuffle(8)));
  CHECK(all(data, 0) == first);  // epochs may be visited in any order
  CHECK(all(data, 5) != first);
  CHECK(all(data, 1) == second);
  for (auto order : {first, second}) {
    std::sort(order.begin(), order.end());
    CHECK(order == all(count(100)));
  }
  auto repeated = all(data.repeat(2));
  CHECK(Ints(repeated.begin(), repeated.begin() + 100) == first);
  CHECK(Ints(repeated.begin() + 100, repeated.end()) == second);
  CHECK(all(data.repeat(2), 1) != repeated);
}

TEST_CASE("Dataset: map_random gives each element and epoch a seed of its own") {
  const auto seeds = count(50).map_random(3, [](std::int64_t, std::uint64_t seed) { return seed; });
  auto values = all(seeds);
  CHECK(values == all(seeds));
  const auto more = all(seeds, 1);
  values.insert(values.end(), more.begin(), more.end());
  std::sort(values.begin(), values.end());
  CHECK(std::unique(values.begin(), values.end()) == values.end());
}

TEST_CASE("Dataset: batches by length hold every element once and neighbours in length") {
  Ints lengths;
  for (std::int64_t i = 0; i < 103; ++i) lengths.push_back(i * 37 % 20);
  const auto data = count(103).batch_by_length(lengths, 8, 5, 60);
  std::vector<Ints> epochs[2];
  for (std::int64_t epoch : {0, 1}) {
    Ints seen;
    std::int64_t padded = 0, cells = 0, before = 0, falls = 0, rises = 0;
    for (const auto& group : epochs[epoch] = all(data, epoch)) {
      REQUIRE(!group.empty());
      CHECK(group.size() <= 8);
      std::int64_t longest = 0;
      for (const auto i : group) {
        longest = std::max(longest, lengths[static_cast<std::size_t>(i)]);
        cells += lengths[static_cast<std::size_t>(i)];
        seen.push_back(i);
      }
      CHECK((group.size() == 1 || longest * static_cast<std::int64_t>(group.size()) <= 60));
      padded += longest * static_cast<std::int64_t>(group.size());
      (longest < before ? falls : rises) += longest != before;
      before = longest;
    }
    // The groups are not in the order of their lengths.
    CHECK(falls > 3);
    CHECK(rises > 3);
    CHECK(padded < cells * 5 / 4);
    std::sort(seen.begin(), seen.end());
    CHECK(seen == all(count(103)));
  }
  CHECK(epochs[0] != epochs[1]);
  CHECK(all(data) == epochs[0]);
  CHECK(count(0).batch_by_length({}, 4, 0).empty());
}

TEST_CASE("Dataset: signatures tell pipelines apart") {
  const auto base = count(10);
  const std::vector<std::uint64_t> signatures{base.signature(),
                                              count(11).signature(),
                                              base.shuffle(1).signature(),
                                              base.shuffle(2).signature(),
                                              base.batch(2).signature(),
                                              base.batch(3).signature(),
                                              base.batch(3, true).signature(),
                                              base.take(3).signature(),
                                              base.repeat(3).signature(),
                                              base.subset({1, 2}).signature(),
                                              base.subset({2, 1}).signature()};
  auto sorted = signatures;
  std::sort(sorted.begin(), sorted.end());
  CHECK(std::unique(sorted.begin(), sorted.end()) == sorted.end());
  CHECK(base.shuffle(1).signature() == count(10).shuffle(1).signature());
}

TEST_CASE("Dataset: misuse") {
  CHECK_THROWS_AS(count(3).at(3), IndexError);
  CHECK_THROWS_AS(count(3).at(-1), IndexError);
  CHECK_THROWS_AS(count(3).batch(0), ShapeError);
  CHECK_THROWS_AS(count(3).take(-1), IndexError);
  CHECK_THROWS_AS(count(3).subset({3}), IndexError);
  CHECK_THROWS_AS(count(3).zip(count(4)), ShapeError);
  CHECK_THROWS_AS(count(3).repeat(-1), ShapeError);
  CHECK_THROWS_AS(count(3).batch_by_length({1, 2}, 2, 0), ShapeError);
  CHECK_THROWS_AS(count(2).batch_by_length({1, 2}, 0, 0), ShapeError);
  CHECK_THROWS_AS(count(-1), ShapeError);
}
