#pragma once

#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

template <class T>
struct DropoutKernels {
  /// kept[i] = words[i] >= threshold, y = kept ? scale x : 0.
  void (*drop)(const std::uint32_t* words, std::uint32_t threshold, const T* x, T scale, std::uint8_t* kept, T* y,
               std::int64_t n);
  /// out (+)= kept ? scale x : 0.
  void (*select)(const std::uint8_t* kept, T scale, const T* x, T* out, std::int64_t n, bool accumulate);
};

}  // namespace tapestry::detail
