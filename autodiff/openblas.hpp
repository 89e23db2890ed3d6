#pragma once

#include <string>

namespace tapestry::detail {

/// What is known of the BLAS in use.
struct BlasReport {
  std::string library;  ///< name and version
  std::string core;     ///< the CPU that its kernels are made for
  bool avx512 = false;  ///< whether that core has AVX-512, and with it kernels for small matrices
  bool tuned = false;   ///< whether Tapestry replaced the core that the library had chosen
};

/// Prepares OpenBLAS at the first call, and once before main() runs: one thread (operations are split over Tapestry's
/// own), and AVX-512 kernels where the CPU has them. An OpenBLAS that does not know the CPU falls back on kernels for
/// AVX2, which reach half the speed. Left alone: with OPENBLAS_CORETYPE set (whoever set it, to whatever), with
/// TAPESTRY_TUNE_BLAS=0, and in builds with -DTAPESTRY_TUNE_BLAS=OFF.
const BlasReport& blas_report();

/// The core that OpenBLAS should use in place of `current`, or an empty string to leave it. `tune` is the variable
/// TAPESTRY_TUNE_BLAS, `coretype` OPENBLAS_CORETYPE; null where unset.
std::string better_blas_core(const std::string& current, bool avx512, const char* tune, const char* coretype);

/// Switches a running OpenBLAS to the kernels of another core; false where that is not possible. No other thread may
/// be using BLAS.
bool switch_blas_core(const std::string& core);

/// The core that OpenBLAS uses now.
std::string blas_core();

}  // namespace tapestry::detail
