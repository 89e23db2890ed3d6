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

// Held while a second thread waits for the first.
constinit std::mutex mutex;
// Whether this thread found, under the mutex, that nobody counts alone any more.
constinit thread_local bool settled = false;

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
  if (settled && mode.shared.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mutex);
  if (mode.shared.load(std::memory_order_relaxed)) {
    counts_alone = false;
    settled = true;
    return;
  }
  if (counts_alone) return;
  if (!mode.claimed.exchange(true)) {
    // A forked child has one thread, which may not be the one that was adding.
    static const int handler = ::pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); },
                                                [] {
                                                  if (!counts_alone) counting_mode.adding.store(false);
                                                  mutex.unlock();
                                                });
    counts_alone = handler == 0 && barrier_everywhere(Barrier::enable);
    if (!counts_alone) mode.shared.store(true);
    return;
  }
  mode.shared.store(true);
  // Registering may not survive a fork.
  if (!barrier_everywhere(Barrier::run) && barrier_everywhere(Barrier::enable)) barrier_everywhere(Barrier::run);
  while (mode.adding.load(std::memory_order_acquire)) ::sched_yield();
  settled = true;
}

}  // namespace tapestry::detail
