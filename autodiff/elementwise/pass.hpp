#pragma once

#include <cstring>
#include <type_traits>

#include <tapestry/autodiff/elementwise/dual.hpp>
#include <tapestry/autodiff/elementwise/functions.hpp>
#include <tapestry/autodiff/threads.hpp>

// The same source for each instruction set, in regions compiled for it: the user's own flags don't matter.
#define TAPESTRY_BLOCK_ARCH baseline
#define TAPESTRY_BLOCK_VECTOR 16
#define TAPESTRY_BLOCK_UNROLL
#define TAPESTRY_BLOCK_FLATTEN
#include <tapestry/autodiff/elementwise/block.inc>

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define TAPESTRY_BLOCK_ARCH avx2
#define TAPESTRY_BLOCK_VECTOR 32
#define TAPESTRY_BLOCK_UNROLL _Pragma("GCC unroll 16")
#define TAPESTRY_BLOCK_FLATTEN __attribute__((flatten))
#include <tapestry/autodiff/elementwise/block.inc>
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,fma,prefer-vector-width=512")
#endif
#define TAPESTRY_BLOCK_ARCH avx512
#define TAPESTRY_BLOCK_VECTOR 64
#define TAPESTRY_BLOCK_UNROLL _Pragma("GCC unroll 8")
#define TAPESTRY_BLOCK_FLATTEN __attribute__((flatten))
#include <tapestry/autodiff/elementwise/block.inc>
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

namespace tapestry::detail {

template <class F>
inline constexpr bool is_partial = false;
template <class F, int i>
inline constexpr bool is_partial<Partial<F, i>> = true;

template <class T, class F, int n>
void elementwise_pass(const F& f, const std::array<const T*, n>& x, const std::array<int, n>& strides, T* y,
                      const std::array<T*, n>* partials, std::int64_t size) {
  constexpr std::int64_t grain = 16384;
  const auto indices = std::make_index_sequence<n>();
  parallel_for(size, grain, [&](std::int64_t begin, std::int64_t end) {
#if defined(__x86_64__)
    // Derivatives of higher order are compiled for the baseline only, for the sake of the user's compile time.
    if constexpr (!is_partial<F>) {
      if (instruction_set() == InstructionSet::avx512)
        return avx512::elementwise_run<T, F, n>(f, x, strides, y, partials, begin, end, indices);
      if (instruction_set() == InstructionSet::avx2)
        return avx2::elementwise_run<T, F, n>(f, x, strides, y, partials, begin, end, indices);
    }
#endif
    baseline::elementwise_run<T, F, n>(f, x, strides, y, partials, begin, end, indices);
  });
}

}  // namespace tapestry::detail
