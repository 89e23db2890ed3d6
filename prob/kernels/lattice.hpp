#pragma once

#include <cstddef>
#include <cstdint>

namespace tapestry::detail {

/// Sums of rows of numbers. Rows are `stride` apart, a multiple of 64 bytes, and are read and written whole.
template <class T>
struct LatticeKernels {
  /// out[r] = sum over e from offsets[r] to offsets[r + 1] of weights[e] * in[index[e]], for rows first to last.
  void (*gather)(std::size_t stride, const std::uint32_t* offsets, const std::uint32_t* index, const T* weights,
                 const T* in, std::size_t first, std::size_t last, T* out);
  /// out[r] = in[r] / 2 + (in[a] + in[b]) / 4, where neighbours has a and b of each row.
  void (*blur)(std::size_t stride, const std::uint32_t* neighbours, const T* in, std::size_t first, std::size_t last,
               T* out);
};

}  // namespace tapestry::detail
