#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// A sequence of 128-bit Philox blocks: block i encrypts the counter (i, stream) under the key.
struct PhiloxStream {
  std::uint64_t key;
  std::uint64_t stream;
};

/// What does not depend on the type of the numbers.
struct PhiloxKernels {
  /// 4 * blocks words of Philox4x32-10, from block `position` on.
  void (*words)(PhiloxStream stream, std::uint64_t position, std::uint32_t* out, std::size_t blocks);
  /// Logarithms of Gamma(a, 1) variates for elements `first`, `first` + 1, ...; a stride of 0 repeats the first a.
  void (*log_gamma)(PhiloxStream stream, std::uint64_t first, const double* a, std::size_t stride, double* out,
                    std::size_t n);
  /// Poisson variates of rate `rate` (>= 0), as numbers.
  void (*poisson)(PhiloxStream stream, std::uint64_t first, const double* rate, std::size_t stride, double* out,
                  std::size_t n);
};

/// Fills of n numbers from block `position` on. Element i is made of block position + i / (16 / sizeof(T)), or of the
/// group of 32 (float) or 16 (double) elements that it belongs to: a fill may be cut at multiples of
/// random_granule elements and gives the same numbers, in any order and on any instruction set.
template <class T>
struct RandomKernels {
  /// min(low + width * u, below), u in [0, 1) of 24 or 53 bits
  void (*uniform)(PhiloxStream stream, std::uint64_t position, T low, T width, T below, T* out, std::size_t n);
  /// mean + deviation * z
  void (*normal)(PhiloxStream stream, std::uint64_t position, T mean, T deviation, T* out, std::size_t n);
  /// scale * e, e > 0
  void (*exponential)(PhiloxStream stream, std::uint64_t position, T scale, T* out, std::size_t n);
  void (*gumbel)(PhiloxStream stream, std::uint64_t position, T* out, std::size_t n);
  /// 1 with probability p[i], else 0; a stride of 0 repeats the first p
  void (*bernoulli)(PhiloxStream stream, std::uint64_t position, const T* p, std::size_t stride, T* out, std::size_t n);
  /// y = e^(x - shift); exactly 0 at -inf and below the smallest normal number
  void (*exponentials)(const T* x, T shift, T* y, std::size_t n);
};

/// Fills may be cut at multiples of this many elements.
inline constexpr std::size_t random_granule = 512;

}  // namespace tapestry::detail
