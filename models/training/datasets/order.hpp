#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <vector>

namespace tapestry::detail {

/// One number that depends on all of them and their order.
std::uint64_t mix_signature(std::initializer_list<std::uint64_t> parts);

/// The seed of an element in an epoch.
std::uint64_t element_seed(std::uint64_t seed, std::int64_t epoch, std::int64_t index);

/// 0 ... n-1 in the random order of an epoch.
std::vector<std::int64_t> random_order(std::int64_t n, std::uint64_t seed, std::int64_t epoch);

/// Orders by epoch, of which the last two are kept (a loader fetches ahead into the next epoch).
class EpochOrder {
 public:
  using Make = std::function<std::vector<std::int64_t>(std::int64_t epoch)>;
  explicit EpochOrder(Make make) : make_(std::move(make)) {}

  std::int64_t operator()(std::int64_t epoch, std::int64_t i) const {
    return (*of(epoch))[static_cast<std::size_t>(i)];
  }
  std::shared_ptr<const std::vector<std::int64_t>> of(std::int64_t epoch) const;

 private:
  struct Entry {
    std::int64_t epoch = -1;
    std::shared_ptr<const std::vector<std::int64_t>> order;
  };
  Make make_;
  mutable std::mutex mutex_;
  mutable Entry entries_[2];
};

/// Which elements make a batch when batches hold elements of similar length.
class LengthBuckets {
 public:
  LengthBuckets(std::vector<std::int64_t> lengths, std::int64_t elements, std::int64_t cells, std::uint64_t seed);
  std::int64_t batches() const { return static_cast<std::int64_t>(borders_.size()) - 1; }
  std::vector<std::int64_t> members(std::int64_t batch, std::int64_t epoch) const;

 private:
  std::vector<std::int64_t> borders_;  // of the batches, in the sorted order: the same in every epoch
  EpochOrder elements_;                // sorted by length
  EpochOrder batches_;
};

}  // namespace tapestry::detail
