#pragma once

#include <cstdint>
#include <string>

namespace tapestry::detail {

/// Whether a float product is better given to oneDNN than to OpenBLAS: where the library was built with oneDNN, the CPU
/// has AVX-512, TAPESTRY_ONEDNN is not 0, and the product is not small. Depends on the shape only.
bool onednn_wins(std::int64_t m, std::int64_t n, std::int64_t k);

/// C = alpha op(A) op(B) + beta C, row-major, in the calling thread.
void onednn_gemm(bool trans_a, bool trans_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
                 const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c,
                 std::int64_t ldc);

/// "oneDNN 2.6.3", or nothing where it is not used.
std::string onednn_version();

}  // namespace tapestry::detail
