#include <tapestry/prob/kept_plans.hpp>

#include <algorithm>

namespace tapestry::detail {
namespace {

constexpr std::size_t most_plans = 4;

}  // namespace

std::shared_ptr<const void> KeptPlans::find(const Key& key) const {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
  return found == entries_.end() ? nullptr : found->plan;
}

void KeptPlans::keep(Key key, std::shared_ptr<const void> plan) {
  const std::lock_guard lock(mutex_);
  entries_.push_back({std::move(key), std::move(plan)});
  if (entries_.size() > most_plans) entries_.erase(entries_.begin());
}

void KeptPlans::clear() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
}

}  // namespace tapestry::detail
