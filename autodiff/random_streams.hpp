#pragma once

#include <array>
#include <cstdint>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/threads.hpp>

// What the parts of Generator share: places in the sequence, chunks for threads, checks of arguments.
namespace tapestry::detail {

/// Elements of a chunk: a multiple of random_granule.
constexpr std::int64_t random_grain = 1 << 15;

/// f(stream, position, begin, count) for chunks of n numbers of type T.
template <class T, class F>
void random_chunks(Generator& generator, std::int64_t n, F f) {
  // Numbers are made in groups of 32 words, 8 blocks.
  const auto groups = (static_cast<std::uint64_t>(n) * sizeof(T) + 127) / 128;
  const Generator::Reserved at = generator.reserve(8 * groups);
  parallel_for(n, random_grain, [&](std::int64_t begin, std::int64_t end) {
    f(at.stream, at.position + static_cast<std::uint64_t>(begin) * sizeof(T) / 16, begin,
      static_cast<std::size_t>(end - begin));
  });
}

template <class T>
const RandomKernels<T>& random_kernels() {
  return kernels<RandomKernels<T>>();
}

inline std::array<std::uint64_t, 2> philox_block(PhiloxStream stream, std::uint64_t position) {
  std::array<std::uint32_t, 4> w;
  kernels<PhiloxKernels>().words(stream, position, w.data(), 1);
  return {w[0] | std::uint64_t{w[1]} << 32, w[2] | std::uint64_t{w[3]} << 32};
}

/// A sequence of its own for methods that need an unknown count of words: block (element, attempt).
inline PhiloxStream derive_stream(Generator& generator) {
  const auto at = generator.reserve(1);
  const auto [key, stream] = philox_block(at.stream, at.position);
  return {key, stream};
}

template <class T>
void check_random_arguments(const char* operation, const Tensor<T>& x, T low, T high, bool open, const char* what) {
  for (const T v : x)
    if (!(open ? v > low : v >= low) || !(v <= high)) fail<NumericalError>(operation, what, ", got ", v);
}

}  // namespace tapestry::detail
