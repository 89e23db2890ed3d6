#include <tapestry/autodiff/pool.hpp>
#include <tapestry/autodiff/tensor.hpp>

#include <cstdint>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace tapestry;

TEST_CASE("pool: blocks are aligned and come back without a system call") {
  for (const std::size_t bytes : {1, 64, 65, 1000, 1024, 1025, 5000, 100000, 1 << 20, (1 << 20) + 64, 3000000}) {
    void* first = detail::pool_allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
    detail::pool_deallocate(first, bytes);
    const auto calls = memory_statistics().system_calls;
    void* again = detail::pool_allocate(bytes);
    CHECK(again == first);
    CHECK(memory_statistics().system_calls == calls);
    detail::pool_deallocate(again, bytes);
  }
}

TEST_CASE("pool: an array of a power of two fills its block beside its header; others waste a quarter at most") {
  const auto taken = [](std::size_t bytes) {
    const auto before = memory_statistics().in_use;
    void* const block = detail::pool_allocate(bytes);
    const auto after = memory_statistics().in_use;
    detail::pool_deallocate(block, bytes);
    return after - before;
  };
  for (std::size_t bytes = 2048; bytes <= std::size_t{1} << 24; bytes *= 2) {
    CHECK(taken(bytes + 64) == bytes + 64);
    for (const std::size_t more : {bytes + 65, bytes + bytes / 3, 2 * bytes - 1}) {
      CHECK(taken(more) >= more);
      CHECK(taken(more) <= more + more / 4 + 64);
    }
  }
}

TEST_CASE("pool: statistics follow what is in use, its peak and the cache") {
  const auto before = memory_statistics();
  reset_peak_memory();
  {
    Tensor<float> a = Tensor<float>::from_shape({1000, 1000});
    CHECK(memory_statistics().in_use >= before.in_use + 4000000);
  }
  const auto after = memory_statistics();
  CHECK(after.in_use == before.in_use);
  CHECK(after.peak >= before.in_use + 4000000);
  CHECK(after.cached >= 4000000);
  release_cached();
  // Small blocks of earlier tests stay.
  CHECK(memory_statistics().cached + 4000000 <= after.cached);
}

TEST_CASE("pool: blocks may be freed by another thread") {
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(detail::pool_allocate(2000));
  const auto in_use = memory_statistics().in_use;
  std::thread([&] {
    for (void* block : blocks) detail::pool_deallocate(block, 2000);
  }).join();
  CHECK(memory_statistics().in_use < in_use);
}
