#include <tapestry/autodiff/configuration.hpp>

#include <ostream>

#include <tapestry/autodiff/kernels/dispatch.hpp>
#include <tapestry/autodiff/onednn.hpp>
#include <tapestry/autodiff/openblas.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry {
namespace {

const char* name(detail::InstructionSet set) {
  switch (set) {
    case detail::InstructionSet::avx512:
      return "avx512";
    case detail::InstructionSet::avx2:
      return "avx2";
    case detail::InstructionSet::baseline:
      break;
  }
  return "baseline";
}

}  // namespace

Configuration configuration() {
  const detail::BlasReport& blas = detail::blas_report();
#if defined(__clang__)
  const std::string compiler = "clang " __clang_version__;
#else
  const std::string compiler = "g++ " __VERSION__;
#endif
  const std::string onednn = detail::onednn_version();
  return {TAPESTRY_VERSION,
          compiler,
          name(detail::instruction_set()),
          blas.library + (onednn.empty() ? "" : ", " + onednn),
          detail::blas_core(),
          blas.tuned,
          threads()};
}

std::ostream& operator<<(std::ostream& out, const Configuration& configuration) {
  return out << "Tapestry         " << configuration.version << "\ncompiler         " << configuration.compiler
             << "\ninstruction set  " << configuration.instruction_set << "\nBLAS             " << configuration.blas
             << "\nBLAS core        " << configuration.blas_core
             << (configuration.blas_tuned ? " (chosen by Tapestry)" : " (chosen by the BLAS or the user)")
             << "\nthreads          " << configuration.threads << '\n';
}

}  // namespace tapestry
