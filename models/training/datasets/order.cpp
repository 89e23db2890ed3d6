#include <tapestry/models/training/datasets/order.hpp>

#include <algorithm>
#include <numeric>

#include <tapestry/autodiff/random.hpp>

namespace tapestry::detail {
namespace {

/// The finaliser of splitmix64 (Steele, Lea and Flood 2014).
std::uint64_t scramble(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t mix_signature(std::initializer_list<std::uint64_t> parts) {
  std::uint64_t h = 0;
  for (const std::uint64_t part : parts) h = scramble(h ^ part);
  return h;
}

std::uint64_t element_seed(std::uint64_t seed, std::int64_t epoch, std::int64_t index) {
  return mix_signature({seed, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(index)});
}

std::vector<std::int64_t> random_order(std::int64_t n, std::uint64_t seed, std::int64_t epoch) {
  const auto order = Generator(element_seed(seed, epoch, -1)).permutation(n);
  return {order.begin(), order.end()};
}

std::shared_ptr<const std::vector<std::int64_t>> EpochOrder::of(std::int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_)
    if (entry.epoch == epoch) return entry.order;
  Entry& oldest = entries_[0].epoch <= entries_[1].epoch ? entries_[0] : entries_[1];
  oldest = {epoch, std::make_shared<const std::vector<std::int64_t>>(make_(epoch))};
  return oldest.order;
}

LengthBuckets::LengthBuckets(std::vector<std::int64_t> lengths, std::int64_t elements, std::int64_t cells,
                             std::uint64_t seed)
    : elements_([lengths, seed](std::int64_t epoch) {
        auto order = random_order(static_cast<std::int64_t>(lengths.size()), seed, epoch);
        std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
          return lengths[static_cast<std::size_t>(a)] < lengths[static_cast<std::size_t>(b)];
        });
        return order;
      }),
      batches_([this, seed](std::int64_t epoch) {
        return random_order(batches(), mix_signature({seed, 1}), epoch);
      }) {
  std::sort(lengths.begin(), lengths.end());
  borders_.push_back(0);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(lengths.size()); ++i) {
    const std::int64_t count = i - borders_.back() + 1,
                       longest = std::max<std::int64_t>(1, lengths[static_cast<std::size_t>(i)]);
    if (count > 1 && (count > elements || longest > cells / count)) borders_.push_back(i);
  }
  if (!lengths.empty()) borders_.push_back(static_cast<std::int64_t>(lengths.size()));
}

std::vector<std::int64_t> LengthBuckets::members(std::int64_t batch, std::int64_t epoch) const {
  const auto b = static_cast<std::size_t>(batches_(epoch, batch));
  const auto order = elements_.of(epoch);
  return {order->begin() + borders_[b], order->begin() + borders_[b + 1]};
}

}  // namespace tapestry::detail
