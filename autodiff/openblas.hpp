#pragma once

#include <string>

namespace tapestry::detail {

/// What is known of the BLAS in use.
struct BlasReport {
  std::string library;  ///< name and version
  std::string core;     ///< the CPU that its kernels are made for
  bool tuned = false;   ///< whether Tapestry replaced the core that the library had chosen
};

/// Prepares OpenBLAS at the first call, and once before main() runs: one thread (operations are split over Tapestry's
/// own), and the kernels of the running CPU. OpenBLAS 0.3.21 does not know newer AMD CPUs and gives them its AVX2
/// kernels, which reach half the speed of its AVX-512 ones. Left alone: with OPENBLAS_CORETYPE set, with
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
