#include <tapestry/autodiff/pool.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define TAPESTRY_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TAPESTRY_ASAN 1
#endif
#endif
#ifdef TAPESTRY_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace tapestry {
namespace detail {
namespace {

constexpr std::size_t alignment = 64;
constexpr std::size_t small_limit = 1024;
constexpr std::size_t small_classes = small_limit / alignment;
constexpr std::size_t large_classes = 4 * 40;
constexpr std::size_t slab_bytes = std::size_t{256} << 10;
constexpr std::int64_t flush_bytes = 64 << 10;

struct Block {
  Block* next;
};

// The link stays readable, so that LeakSanitizer, which skips poisoned memory, can follow the list.
[[maybe_unused]] void poison(Block* block, std::size_t bytes) {
  ASAN_POISON_MEMORY_REGION(reinterpret_cast<char*>(block) + sizeof(Block), bytes - sizeof(Block));
}

struct SizeClass {
  std::size_t index;
  std::size_t bytes;
};

// Multiples of 64 bytes up to 1 KiB, then four classes a doubling (plus the 64 bytes of a storage header, so that
// arrays of a power of two do not fall into the next class).
SizeClass size_class(std::size_t bytes) {
  if (bytes <= small_limit) {
    const std::size_t index = bytes == 0 ? 0 : (bytes - 1) / alignment;
    return {index, (index + 1) * alignment};
  }
  const std::size_t n = bytes - alignment;
  const int shift = static_cast<int>(std::bit_width(n - 1)) - 3;
  const std::size_t quarters = ((n - 1) >> shift) + 1;
  const std::size_t index = small_classes + static_cast<std::size_t>(shift - 7) * 4 + (quarters - 5);
  return {index, (quarters << shift) + alignment};
}

// A number that one thread changes and others may read.
class Figure {
 public:
  operator std::int64_t() const noexcept { return value_.load(std::memory_order_relaxed); }
  void operator+=(std::int64_t n) noexcept { value_.store(*this + n, std::memory_order_relaxed); }
  void operator-=(std::int64_t n) noexcept { *this += -n; }
  void operator=(std::int64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

struct Cache {
  Block* free[small_classes + large_classes];
  char* slab;
  char* slab_end;
  Figure unflushed;
  Figure cached;
  std::uint64_t allocated;
  bool registered;
  bool ended;
};

struct Pool {
  std::atomic<std::int64_t> in_use{0}, peak{0}, system_calls{0};
  std::mutex mutex;
  std::vector<Cache*> caches;
  Cache orphans{};
};

Pool& pool() {
  static Pool& instance = *new Pool;  // outlives every thread's cache
  return instance;
}

constinit thread_local Cache local{};

void flush(Cache& cache) {
  Pool& shared = pool();
  const std::int64_t now = shared.in_use.fetch_add(cache.unflushed, std::memory_order_relaxed) + cache.unflushed;
  cache.unflushed = 0;
  std::int64_t peak = shared.peak.load(std::memory_order_relaxed);
  while (now > peak && !shared.peak.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

/// Walks free blocks, which are poisoned.
__attribute__((no_sanitize("address"))) void append(Block*& list, Block* blocks) {
  if (blocks == nullptr) return;
  Block* last = blocks;
  while (last->next != nullptr) last = last->next;
  last->next = list;
  list = blocks;
}

struct CacheRegistration {
  CacheRegistration() {
    const std::lock_guard lock(pool().mutex);
    pool().caches.push_back(&local);
  }
  ~CacheRegistration() {
    Pool& shared = pool();
    const std::lock_guard lock(shared.mutex);
    flush(local);
    for (std::size_t i = 0; i < std::size(local.free); ++i) {
      append(shared.orphans.free[i], local.free[i]);
      local.free[i] = nullptr;
    }
    shared.orphans.cached += local.cached;
    local.cached = 0;
    local.ended = true;
    std::erase(shared.caches, &local);
  }
};

void register_cache() {
  local.registered = true;
  static thread_local CacheRegistration registration;
  (void)registration;
}

void* system_allocate(std::size_t bytes) {
  pool().system_calls.fetch_add(1, std::memory_order_relaxed);
  try {
    return ::operator new (bytes, std::align_val_t{alignment});
  } catch (const std::bad_alloc&) {
    release_cached();
    return ::operator new (bytes, std::align_val_t{alignment});
  }
}

void* carve(std::size_t bytes) {
  if (static_cast<std::size_t>(local.slab_end - local.slab) < bytes) {
    local.slab = static_cast<char*>(system_allocate(slab_bytes));
    local.slab_end = local.slab + slab_bytes;
    ASAN_POISON_MEMORY_REGION(local.slab, slab_bytes);
  }
  void* block = local.slab;
  local.slab += bytes;
  return block;
}

void* take_orphan(SizeClass size) {
  Pool& shared = pool();
  const std::lock_guard lock(shared.mutex);
  Block*& list = shared.orphans.free[size.index];
  if (list == nullptr) return nullptr;
  Block* block = list;
  ASAN_UNPOISON_MEMORY_REGION(block, size.bytes);
  list = block->next;
  shared.orphans.cached -= static_cast<std::int64_t>(size.bytes);
  return block;
}

void* refill(SizeClass size) {
  if (local.ended) return system_allocate(size.bytes);
  if (!local.registered) register_cache();
  if (void* block = take_orphan(size)) return block;
  return size.bytes <= small_limit ? carve(size.bytes) : system_allocate(size.bytes);
}

std::int64_t release_large(Cache& cache) {
  std::int64_t released = 0;
  std::size_t bytes = 0;
  for (std::size_t i = small_classes; i < std::size(cache.free); ++i) {
    const std::size_t shift = (i - small_classes) / 4 + 7, quarters = (i - small_classes) % 4 + 5;
    bytes = (quarters << shift) + alignment;
    for (Block* block = cache.free[i]; block != nullptr;) {
      ASAN_UNPOISON_MEMORY_REGION(block, bytes);
      Block* next = block->next;
      ::operator delete (block, std::align_val_t{alignment});
      released += static_cast<std::int64_t>(bytes);
      block = next;
    }
    cache.free[i] = nullptr;
  }
  cache.cached -= released;
  return released;
}

}  // namespace

void* pool_allocate(std::size_t bytes) {
  if (bytes > (std::size_t{1} << 46)) throw std::bad_alloc();
  const SizeClass size = size_class(bytes);
  Cache& cache = local;
  void* block = cache.free[size.index];
  if (block != nullptr) {
    ASAN_UNPOISON_MEMORY_REGION(block, size.bytes);
    cache.free[size.index] = static_cast<Block*>(block)->next;
    cache.cached -= static_cast<std::int64_t>(size.bytes);
  } else {
    block = refill(size);
    ASAN_UNPOISON_MEMORY_REGION(block, size.bytes);
  }
  cache.unflushed += static_cast<std::int64_t>(size.bytes);
  cache.allocated += size.bytes;
  if (cache.unflushed > flush_bytes || cache.ended) flush(cache);
  return block;
}

std::uint64_t thread_allocated_bytes() noexcept {
  return local.allocated;
}

void pool_deallocate(void* p, std::size_t bytes) noexcept {
  if (p == nullptr) return;
  const SizeClass size = size_class(bytes);
  Cache& cache = local;
  cache.unflushed -= static_cast<std::int64_t>(size.bytes);
  auto* block = static_cast<Block*>(p);
  if (cache.ended || !cache.registered) {
    if (cache.ended) {
      Pool& shared = pool();
      const std::lock_guard lock(shared.mutex);
      block->next = shared.orphans.free[size.index];
      shared.orphans.free[size.index] = block;
      shared.orphans.cached += static_cast<std::int64_t>(size.bytes);
      flush(cache);
      poison(block, size.bytes);
      return;
    }
    register_cache();
  }
  block->next = cache.free[size.index];
  cache.free[size.index] = block;
  cache.cached += static_cast<std::int64_t>(size.bytes);
  if (cache.unflushed < -flush_bytes) flush(cache);
  poison(block, size.bytes);
}

}  // namespace detail

MemoryStatistics memory_statistics() {
  detail::Pool& shared = detail::pool();
  const std::lock_guard lock(shared.mutex);
  std::int64_t in_use = shared.in_use.load(), cached = shared.orphans.cached;
  for (const detail::Cache* cache : shared.caches) {
    in_use += cache->unflushed;
    cached += cache->cached;
  }
  const auto bytes = [](std::int64_t n) { return static_cast<std::size_t>(n < 0 ? 0 : n); };
  return {bytes(in_use), bytes(std::max(in_use, shared.peak.load())), bytes(cached), bytes(shared.system_calls.load())};
}

void reset_peak_memory() {
  detail::flush(detail::local);
  detail::pool().peak = detail::pool().in_use.load();
}

void release_cached() {
  detail::release_large(detail::local);
  const std::lock_guard lock(detail::pool().mutex);
  detail::release_large(detail::pool().orphans);
}

}  // namespace tapestry
