#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/elementwise.hpp>

namespace tapestry::detail {

/// Bytes of a block: eight AVX-512 vectors, so that dependency chains overlap and a call costs little.
inline constexpr std::size_t block_bytes = 512;

/// y = f(x) for one block, by the kernels of the instruction set in use.
template <class T>
void block_unary(Unary f, const T* x, T* y);
template <class T>
void block_parametric(Parametric f, const T* x, T parameter, T* y);

/// out (+)= g * partial, zero where g is; with `repeat` g is one number.
template <class T>
void multiply_into(const T* g, bool repeat, const T* partial, T* out, std::int64_t n, bool accumulate);

}  // namespace tapestry::detail
