#pragma once

#include <iosfwd>
#include <string>

namespace tapestry {

/// How the library was built and what it uses on this machine.
struct Configuration {
  std::string version;
  std::string compiler;
  std::string instruction_set;  ///< of Tapestry's own kernels: baseline, avx2 or avx512
  std::string blas;             ///< name and version of the BLAS, and of oneDNN where it is used beside it
  std::string blas_core;        ///< the CPU that the BLAS' kernels are made for
  bool blas_tuned = false;      ///< whether Tapestry replaced the core that the BLAS had chosen
  int threads = 1;
};

Configuration configuration();

/// One line for each field.
std::ostream& operator<<(std::ostream& out, const Configuration& configuration);

}  // namespace tapestry
