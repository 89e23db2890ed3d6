#pragma once

#include <atomic>

namespace tapestry::detail {

/// Atomic increments cost more than the rest of a small operation, and most programs use variables in one thread only
/// (whatever other threads compute on arrays). So the first thread that counts references does it with plain additions,
/// until a second thread counts: that one first sees to it that the first is not in the middle of an addition.
/// The first thread announces its additions without a fence; membarrier(2) by the second thread stands in for it.
struct CountingMode {
  std::atomic<bool> shared{false};   ///< more than one thread counts: for good
  std::atomic<bool> claimed{false};  ///< there is a first thread
  std::atomic<bool> adding{false};   ///< the first thread is in the middle of an addition
};
inline constinit CountingMode counting_mode{};
inline constinit thread_local bool counts_alone = false;

/// Called by a thread before it counts not alone: the first one counts alone from then on, a second one ends that.
void note_counting_thread() noexcept;

/// Whether no other thread changes counts until end_alone(). Must not be nested.
[[gnu::always_inline]] inline bool begin_alone() noexcept {
  if (!counts_alone) return false;
  counting_mode.adding.store(true, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (!counting_mode.shared.load(std::memory_order_acquire)) return true;
  counting_mode.adding.store(false, std::memory_order_release);
  return false;
}
[[gnu::always_inline]] inline void end_alone() noexcept {
  counting_mode.adding.store(false, std::memory_order_release);
}

template <class N>
[[gnu::noinline]] N count_add_shared(std::atomic<N>& count, N n) noexcept {
  note_counting_thread();
  return count.fetch_add(n, std::memory_order_acq_rel) + n;
}

/// @return the new count
template <class N>
[[gnu::always_inline]] inline N count_add(std::atomic<N>& count, N n) noexcept {
  if (!begin_alone()) return count_add_shared(count, n);
  const N now = count.load(std::memory_order_relaxed) + n;
  count.store(now, std::memory_order_relaxed);
  end_alone();
  return now;
}

}  // namespace tapestry::detail
