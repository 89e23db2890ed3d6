#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tapestry {

/// Numbers of the elements to train on and to test on, each in rising order.
struct Split {
  std::vector<std::int64_t> train;
  std::vector<std::int64_t> test;
};

/// n elements in k random folds whose sizes differ by at most one: fold i is the test part of split i.
/// @throws Error unless 2 <= k <= n
std::vector<Split> k_fold(std::int64_t n, std::int64_t k, std::uint64_t seed);

/// As k_fold(), but the number of elements of each class differs by at most one between folds as well.
std::vector<Split> stratified_k_fold(std::span<const std::int64_t> classes, std::int64_t k, std::uint64_t seed);

/// A random part of round(n * test_share) elements to test on. @throws Error unless 0 <= test_share <= 1
Split split(std::int64_t n, double test_share, std::uint64_t seed);

/// The same with each class in proportion, to within one element.
Split stratified_split(std::span<const std::int64_t> classes, double test_share, std::uint64_t seed);

}  // namespace tapestry
