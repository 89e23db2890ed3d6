#pragma once

#include <cstdint>
#include <type_traits>

namespace tapestry {

/// How many threads operations may use from now on. Results do not depend on it. One thread ends all workers.
/// @throws Error below one, or from inside a parallel operation
void set_threads(int count);
/// The number of threads that operations use: at first TAPESTRY_THREADS, or the number of cores.
int threads();

namespace detail {

using ChunkFunction = void (*)(void* context, std::int64_t begin, std::int64_t end, std::int64_t chunk);

/// Runs f for all chunks of `grain` elements (the last may be shorter) on the workers and the calling thread.
void run_chunks(std::int64_t n, std::int64_t grain, ChunkFunction f, void* context);

/// Calls f(begin, end) or f(begin, end, chunk) for the chunks [0, grain), [grain, 2 grain), ... of [0, n). The borders
/// depend on n and grain only. Runs in the calling thread where there is one chunk or one thread, or inside another
/// parallel_for. Of the exceptions that chunks throw, the one of the first chunk is rethrown here.
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, F&& f) {
  const auto call = [](void* context, std::int64_t begin, std::int64_t end, [[maybe_unused]] std::int64_t chunk) {
    auto& function = *static_cast<std::remove_reference_t<F>*>(context);
    if constexpr (std::is_invocable_v<F&, std::int64_t, std::int64_t, std::int64_t>)
      function(begin, end, chunk);
    else
      function(begin, end);
  };
  void* context = const_cast<void*>(static_cast<const void*>(&f));
  if (n <= 0) return;
  if (n <= grain)
    call(context, 0, n, 0);
  else
    run_chunks(n, grain, call, context);
}

}  // namespace detail
}  // namespace tapestry
