#include <tapestry/autodiff/counting.hpp>

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mutex>

#if defined(__linux__) && defined(SYS_membarrier)
#include <linux/membarrier.h>
#endif

namespace tapestry::detail {
namespace {

enum class Barrier { enable, run };

/// A full memory barrier in all threads of the process. @return whether the system has it
bool barrier_everywhere([[maybe_unused]] Barrier what) noexcept {
#if defined(__linux__) && defined(SYS_membarrier)
  const int command =
      what == Barrier::enable ? MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED : MEMBARRIER_CMD_PRIVATE_EXPEDITED;
  return ::syscall(SYS_membarrier, command, 0, 0) == 0;
#else
  return false;
#endif
}

}  // namespace

void note_counting_thread() noexcept {
  CountingMode& mode = counting_mode;
  if (mode.shared.load(std::memory_order_acquire)) {
    counts_alone = false;
    return;
  }
  static constinit std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (mode.shared.load(std::memory_order_relaxed) || counts_alone) return;
  if (!mode.claimed.exchange(true)) {
    // A forked child has one thread, which may not be the one that was adding.
    static const int handler = ::pthread_atfork(nullptr, nullptr, [] {
      if (!counts_alone) counting_mode.adding.store(false);
    });
    counts_alone = handler == 0 && barrier_everywhere(Barrier::enable);
    if (!counts_alone) mode.shared.store(true);
    return;
  }
  mode.shared.store(true);
  // Registering may not survive a fork.
  if (!barrier_everywhere(Barrier::run) && barrier_everywhere(Barrier::enable)) barrier_everywhere(Barrier::run);
  while (mode.adding.load(std::memory_order_acquire)) ::sched_yield();
}

}  // namespace tapestry::detail
