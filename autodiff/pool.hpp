#pragma once

#include <cstddef>
#include <cstdint>

namespace tapestry {

/// What the memory pool holds, in bytes. Blocks of a thread are accounted to within 64 KiB for the peak.
struct MemoryStatistics {
  std::size_t in_use = 0;        ///< handed out
  std::size_t peak = 0;          ///< the most that was handed out since reset_peak_memory()
  std::size_t cached = 0;        ///< freed and kept for the next allocation
  std::size_t system_calls = 0;  ///< allocations that the cache could not serve
};

MemoryStatistics memory_statistics();
/// Starts a new peak at the bytes now in use.
void reset_peak_memory();
/// Returns cached blocks larger than 1 KiB (of this thread and of ended threads) to the system.
void release_cached();

namespace detail {

/// 64-byte aligned memory from a thread's cache of size classes. @throws std::bad_alloc
void* pool_allocate(std::size_t bytes);
/// `bytes` as given to pool_allocate(); any thread may free.
void pool_deallocate(void* block, std::size_t bytes) noexcept;

/// All bytes that this thread has allocated so far.
std::uint64_t thread_allocated_bytes() noexcept;

/// The allocator of Tensor<T>.
template <class T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <class U>
  PoolAllocator(const PoolAllocator<U>&) noexcept {}
  T* allocate(std::size_t n) { return static_cast<T*>(pool_allocate(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) noexcept { pool_deallocate(p, n * sizeof(T)); }
  template <class U>
  bool operator==(const PoolAllocator<U>&) const noexcept {
    return true;
  }
};

}  // namespace detail
}  // namespace tapestry
