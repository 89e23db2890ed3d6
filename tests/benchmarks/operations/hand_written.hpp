#pragma once

#include <cstddef>

namespace operations {

/// tanh(sigmoid(x) x + e^x) and its derivative in one loop, as one would write it for AVX-512 with this library's
/// vector functions; n is a multiple of 128.
void hand_written_chain(const float* x, float* y, float* derivative, std::size_t n);

}  // namespace operations
