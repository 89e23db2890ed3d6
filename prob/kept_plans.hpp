#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace tapestry::detail {

/// What inference has found out about a structure, by the options that it depends on: the last few plans, which do not
/// change any more. A copy of a structure, which is made to be changed, begins without. Any thread may use it.
class KeptPlans {
 public:
  using Key = std::vector<std::int64_t>;

  KeptPlans() = default;
  KeptPlans(const KeptPlans&) {}
  KeptPlans& operator=(const KeptPlans&) {
    clear();
    return *this;
  }
  ~KeptPlans() = default;

  /// Null where there is none. A key says what kind of plan it is.
  std::shared_ptr<const void> find(const Key& key) const;
  void keep(Key key, std::shared_ptr<const void> plan);
  void clear();

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const void> plan;
  };
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace tapestry::detail
