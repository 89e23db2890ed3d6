#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <iterator>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/datasets/dataset.hpp>

namespace tapestry {

/// Where a Loader is: what a checkpoint keeps.
struct LoaderState {
  std::int64_t epoch = 0;
  std::int64_t position = 0;    ///< of the element that comes next
  std::uint64_t signature = 0;  ///< of the data set
};

struct LoaderOptions {
  int workers = 1;   ///< threads that make elements ahead; 0: made in next()
  int prefetch = 2;  ///< elements that are made ahead
};

/// Goes through a data set epoch by epoch, and makes elements ahead on threads of its own. What it delivers, and in
/// which order, does not depend on the options.
template <class T>
class Loader {
 public:
  explicit Loader(Dataset<T> data, LoaderOptions options = {}) : data_(std::move(data)), options_(options) {
    if (options.workers < 0 || (options.workers > 0 && options.prefetch < 1))
      fail<ShapeError>("Loader", options.workers, " workers, ", options.prefetch, " elements ahead");
    start();
  }
  ~Loader() { stop(); }
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next element; none at the end of an epoch, after which the next call begins the next one.
  /// What making the element threw is thrown here; the call after that gives the following element.
  std::optional<T> next() {
    if (position_ >= data_.size()) {
      ++epoch_;
      position_ = 0;
      return std::nullopt;
    }
    if (options_.workers == 0) {
      const std::int64_t at = position_++;
      return data_.at(at, epoch_);
    }
    std::unique_lock lock(mutex_);
    Slot& slot = slots_[static_cast<std::size_t>(delivered_) % slots_.size()];
    ready_.wait(lock, [&] { return slot.done; });
    std::optional<T> element = std::move(slot.element);
    const std::exception_ptr error = slot.error;
    slot = Slot{};
    ++delivered_;
    ++position_;
    lock.unlock();
    room_.notify_one();
    if (error) std::rethrow_exception(error);
    return element;
  }

  std::int64_t epoch() const noexcept { return epoch_; }
  std::int64_t position() const noexcept { return position_; }
  const Dataset<T>& data() const noexcept { return data_; }

  LoaderState state() const { return {epoch_, position_, data_.signature()}; }
  /// Goes on from there. @throws Error for the state of another data set (steps, sizes or seeds differ)
  void restore(const LoaderState& state) {
    if (state.signature != data_.signature()) fail("Loader::restore", "the state belongs to another data set");
    if (state.epoch < 0 || state.position < 0 || state.position > data_.size())
      fail<IndexError>("Loader::restore", "element ", state.position, " of ", data_.size(), " in epoch ", state.epoch);
    stop();
    epoch_ = state.epoch;
    position_ = state.position;
    start();
  }

  /// for (T& element : loader) goes to the end of the epoch.
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    explicit Iterator(Loader& loader) : loader_(&loader), element_(loader.next()) {}
    T& operator*() { return *element_; }
    Iterator& operator++() {
      element_ = loader_->next();
      return *this;
    }
    bool operator==(std::default_sentinel_t) const { return !element_; }

   private:
    Loader* loader_;
    std::optional<T> element_;
  };
  Iterator begin() { return Iterator(*this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  struct Slot {
    std::optional<T> element;
    std::exception_ptr error;
    bool done = false;
  };

  void start() {
    slots_.clear();
    slots_.resize(static_cast<std::size_t>(std::max(options_.prefetch, 1)));
    delivered_ = started_ = 0;
    next_epoch_ = epoch_;
    next_position_ = position_;
    stopping_ = false;
    if (data_.empty()) return;
    for (int i = 0; i < options_.workers; ++i) workers_.emplace_back([this] { work(); });
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    room_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      room_.wait(lock, [&] { return stopping_ || started_ - delivered_ < static_cast<std::int64_t>(slots_.size()); });
      if (stopping_) return;
      if (next_position_ >= data_.size()) {
        next_position_ = 0;
        ++next_epoch_;
      }
      const std::int64_t ticket = started_++, position = next_position_++, epoch = next_epoch_;
      lock.unlock();
      Slot made;
      try {
        made.element = data_.at(position, epoch);
      } catch (...) {
        made.error = std::current_exception();
      }
      made.done = true;
      lock.lock();
      slots_[static_cast<std::size_t>(ticket) % slots_.size()] = std::move(made);
      ready_.notify_one();
    }
  }

  Dataset<T> data_;
  LoaderOptions options_;
  std::int64_t epoch_ = 0, position_ = 0;            // of the next element that next() gives
  std::int64_t next_epoch_ = 0, next_position_ = 0;  // of the next one that a worker makes
  std::int64_t delivered_ = 0, started_ = 0;
  std::vector<Slot> slots_;
  bool stopping_ = false;
  std::mutex mutex_;
  std::condition_variable room_, ready_;
  std::vector<std::thread> workers_;
};

}  // namespace tapestry
