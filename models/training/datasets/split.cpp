#include <tapestry/models/training/datasets/split.hpp>

#include <algorithm>
#include <cmath>
#include <map>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/datasets/order.hpp>

namespace tapestry {
namespace {

/// The elements of each class in random order, the classes one after another.
std::vector<std::vector<std::int64_t>> by_class(std::span<const std::int64_t> classes, std::uint64_t seed) {
  std::map<std::int64_t, std::vector<std::int64_t>> groups;
  for (const std::int64_t i : detail::random_order(static_cast<std::int64_t>(classes.size()), seed, 0))
    groups[classes[static_cast<std::size_t>(i)]].push_back(i);
  std::vector<std::vector<std::int64_t>> result;
  for (auto& [c, members] : groups) result.push_back(std::move(members));
  return result;
}

/// Deals the elements of all groups out to k folds in turn.
std::vector<Split> deal(const std::vector<std::vector<std::int64_t>>& groups, std::int64_t n, std::int64_t k) {
  if (k < 2 || k > n) fail("k_fold", k, " folds of ", n, " elements");
  std::vector<std::int64_t> fold(static_cast<std::size_t>(n));
  std::int64_t turn = 0;
  for (const auto& group : groups)
    for (const std::int64_t i : group) fold[static_cast<std::size_t>(i)] = turn++ % k;
  std::vector<Split> splits(static_cast<std::size_t>(k));
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t f = 0; f < k; ++f) {
      Split& part = splits[static_cast<std::size_t>(f)];
      (fold[static_cast<std::size_t>(i)] == f ? part.test : part.train).push_back(i);
    }
  return splits;
}

Split divide(const std::vector<std::vector<std::int64_t>>& groups, double share) {
  if (!(share >= 0 && share <= 1)) fail("split", "a share of ", share);
  Split result;
  // What rounding one class down or up leaves over goes to the next, so that the total is right too.
  double wanted = 0;
  std::int64_t taken = 0;
  for (const auto& group : groups) {
    wanted += share * static_cast<double>(group.size());
    const auto here =
        std::clamp<std::int64_t>(std::llround(wanted) - taken, 0, static_cast<std::int64_t>(group.size()));
    taken += here;
    result.test.insert(result.test.end(), group.begin(), group.begin() + here);
    result.train.insert(result.train.end(), group.begin() + here, group.end());
  }
  std::sort(result.train.begin(), result.train.end());
  std::sort(result.test.begin(), result.test.end());
  return result;
}

}  // namespace

std::vector<Split> k_fold(std::int64_t n, std::int64_t k, std::uint64_t seed) {
  if (n < 0) fail("k_fold", n, " elements");
  return deal({detail::random_order(n, seed, 0)}, n, k);
}

std::vector<Split> stratified_k_fold(std::span<const std::int64_t> classes, std::int64_t k, std::uint64_t seed) {
  return deal(by_class(classes, seed), static_cast<std::int64_t>(classes.size()), k);
}

Split split(std::int64_t n, double test_share, std::uint64_t seed) {
  if (n < 0) fail("split", n, " elements");
  return divide({detail::random_order(n, seed, 0)}, test_share);
}

Split stratified_split(std::span<const std::int64_t> classes, double test_share, std::uint64_t seed) {
  return divide(by_class(classes, seed), test_share);
}

}  // namespace tapestry
