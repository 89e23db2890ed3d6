#include <tapestry/autodiff/threads.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iterator>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace detail {
namespace {

// A few times what waking a sleeping thread takes on an idle machine (10 to 50 us).
constexpr auto spin_time = std::chrono::microseconds(200);

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

int default_threads() {
  if (const char* text = std::getenv("TAPESTRY_THREADS")) {
    const int count = std::atoi(text);
    if (count >= 1) return std::min(count, 1024);
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// One job at a time. `ticket` holds the job's number (upper half) and how many chunks are left (lower half): a thread
// takes a chunk by subtracting one while the number is still the one it read the job under. A job is written only
// when nothing is left of the last one, so what was read before a chunk was taken belongs to that chunk's job. A worker
// that comes late, or never, costs nothing: the calling thread takes the chunks itself, and waits only for those that
// others have taken.
// Every word that one thread writes while others read it has two cache lines (adjacent lines are fetched in pairs).
struct Pool {
  alignas(128) std::atomic<std::uint32_t> epoch{0};
  alignas(128) std::atomic<std::uint64_t> ticket{0};
  alignas(128) std::atomic<std::int64_t> finished{0};
  alignas(128) std::atomic<int> sleepers{0};
  alignas(128) std::atomic<bool> busy{false};
  alignas(128) std::atomic<std::int64_t> n{0};
  std::atomic<std::int64_t> grain{0};
  std::atomic<ChunkFunction> function{nullptr};
  std::atomic<void*> context{nullptr};

  alignas(128) std::mutex error_mutex;
  std::exception_ptr error;
  std::int64_t error_chunk = 0;

  std::atomic<int> wanted{default_threads()};
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers, lost;
  pid_t process = 0;
};

// Never destroyed: workers may outlive static objects.
Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

constinit thread_local bool inside = false;

struct Inside {
  Inside() { inside = true; }
  ~Inside() { inside = false; }
};

// Takes chunks of job `number` until none is left.
void take_chunks(Pool& p, std::uint32_t number) {
  std::int64_t done = 0;
  std::uint64_t ticket = p.ticket.load(std::memory_order_acquire);
  while (true) {
    if (static_cast<std::uint32_t>(ticket >> 32) != number) break;
    const std::int64_t chunk = static_cast<std::int64_t>(ticket & 0xffffffffu) - 1;
    if (chunk < 0) break;
    const std::int64_t n = p.n.load(std::memory_order_relaxed), grain = p.grain.load(std::memory_order_relaxed);
    const ChunkFunction function = p.function.load(std::memory_order_relaxed);
    void* context = p.context.load(std::memory_order_relaxed);
    if (!p.ticket.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    try {
      function(context, chunk * grain, std::min(n, (chunk + 1) * grain), chunk);
    } catch (...) {
      const std::lock_guard lock(p.error_mutex);
      if (!p.error || chunk < p.error_chunk) {
        p.error = std::current_exception();
        p.error_chunk = chunk;
      }
    }
    ++done;
    ticket = p.ticket.load(std::memory_order_acquire);
  }
  if (done > 0) p.finished.fetch_add(done, std::memory_order_acq_rel);
}

void work(Pool& p, std::uint32_t seen) {
  const Inside guard;
  while (true) {
    auto start = std::chrono::steady_clock::now();
    for (int i = 1; p.epoch.load(std::memory_order_acquire) == seen; ++i) {
      relax();
      if (i % 64 != 0 || std::chrono::steady_clock::now() - start < spin_time) continue;
      p.sleepers.fetch_add(1);
      p.epoch.wait(seen);
      p.sleepers.fetch_sub(1);
    }
    seen = p.epoch.load(std::memory_order_acquire);
    if (p.stop.load(std::memory_order_relaxed)) return;
    take_chunks(p, seen);
  }
}

void announce(Pool& p, std::uint32_t number) {
  p.epoch.store(number);
  if (p.sleepers.load() > 0) p.epoch.notify_all();
}

void end_workers(Pool& p) {
  if (p.process != ::getpid()) {
    // After a fork the threads do not exist here, and cannot be joined.
    p.lost.insert(p.lost.end(), std::make_move_iterator(p.workers.begin()), std::make_move_iterator(p.workers.end()));
    p.workers.clear();
    p.sleepers = 0;
    return;
  }
  p.stop = true;
  announce(p, p.epoch.load() + 1);
  for (std::thread& worker : p.workers) worker.join();
  p.workers.clear();
  p.stop = false;
}

void run_inline(std::int64_t n, std::int64_t grain, ChunkFunction f, void* context) {
  for (std::int64_t begin = 0, chunk = 0; begin < n; begin += grain, ++chunk)
    f(context, begin, std::min(n, begin + grain), chunk);
}

}  // namespace

void run_chunks(std::int64_t n, std::int64_t grain, ChunkFunction f, void* context) {
  constexpr std::int64_t most_chunks = std::int64_t{1} << 30;
  grain = std::max({grain, std::int64_t{1}, (n - 1) / most_chunks + 1});
  Pool& p = pool();
  const int wanted = p.wanted.load(std::memory_order_relaxed);
  if (wanted == 1 || inside || p.busy.exchange(true, std::memory_order_acquire))
    return run_inline(n, grain, f, context);
  const Inside guard;
  struct Release {
    Pool& p;
    ~Release() { p.busy.store(false, std::memory_order_release); }
  } const release{p};
  std::uint32_t number = p.epoch.load(std::memory_order_relaxed);
  if (p.workers.size() != static_cast<std::size_t>(wanted - 1) || p.process != ::getpid()) {
    if (!p.workers.empty()) end_workers(p);
    p.process = ::getpid();
    number = p.epoch.load();
    try {
      while (p.workers.size() + 1 < static_cast<std::size_t>(wanted)) p.workers.emplace_back(work, std::ref(p), number);
    } catch (const std::system_error&) {
      // The system grants no more threads: what there is has to do.
      p.wanted = static_cast<int>(p.workers.size()) + 1;
    }
  }
  ++number;
  const std::int64_t chunks = (n - 1) / grain + 1;
  p.n.store(n, std::memory_order_relaxed);
  p.grain.store(grain, std::memory_order_relaxed);
  p.function.store(f, std::memory_order_relaxed);
  p.context.store(context, std::memory_order_relaxed);
  p.finished.store(0, std::memory_order_relaxed);
  p.ticket.store(static_cast<std::uint64_t>(number) << 32 | static_cast<std::uint64_t>(chunks),
                 std::memory_order_release);
  announce(p, number);
  take_chunks(p, number);
  // Yielding after a while lets a worker finish that shares the core with this thread.
  for (int i = 0; p.finished.load(std::memory_order_acquire) != chunks; ++i) {
    if (i < 4096)
      relax();
    else
      std::this_thread::yield();
  }
  if (p.error) {
    const std::exception_ptr error = std::exchange(p.error, nullptr);
    std::rethrow_exception(error);
  }
}

}  // namespace detail

void set_threads(int count) {
  if (count < 1) fail("set_threads", "there must be at least one thread, not ", count);
  if (detail::inside) fail("set_threads", "called inside a parallel operation");
  detail::Pool& p = detail::pool();
  while (p.busy.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
  p.wanted = count;
  if (p.workers.size() >= static_cast<std::size_t>(count)) detail::end_workers(p);
  p.busy.store(false, std::memory_order_release);
}

int threads() {
  return detail::pool().wanted.load(std::memory_order_relaxed);
}

}  // namespace tapestry
