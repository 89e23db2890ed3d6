#include <tapestry/autodiff/openblas.hpp>

#include <cblas.h>

#include <cstdlib>

#include <tapestry/autodiff/kernels/dispatch.hpp>

extern "C" {
// Only an OpenBLAS that chooses its kernels at run time has these.
__attribute__((weak)) void gotoblas_dynamic_quit(void);
__attribute__((weak)) void gotoblas_dynamic_init(void);

// OpenBLAS asks this function of its own how many threads to start when it is loaded; that of the program comes first.
// Without it, every process would get idle threads before main(), and glibc's and libstdc++'s shortcuts for processes
// with one thread (a shared_ptr is copied in a third of the time) would never be taken.
__attribute__((weak)) int openblas_num_threads_env(void);
int openblas_num_threads_env(void) {
  return 1;
}
}

namespace tapestry::detail {
namespace {

bool has_avx512(const std::string& core) {
  return core == "SkylakeX" || core == "Cooperlake" || core == "SapphireRapids";
}

BlasReport prepare() {
  if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
  BlasReport report;
  const std::string config = openblas_get_config();
  report.library = config.substr(0, config.find(' ', config.find(' ') + 1));
#ifdef TAPESTRY_TUNE_BLAS
  const std::string before = blas_core();
  const std::string better = better_blas_core(before, instruction_set() == InstructionSet::avx512,
                                              std::getenv("TAPESTRY_TUNE_BLAS"), std::getenv("OPENBLAS_CORETYPE"));
  if (!better.empty()) switch_blas_core(better);
  report.tuned = blas_core() != before;
#endif
  report.core = blas_core();
  report.avx512 = has_avx512(report.core);
  return report;
}

// Before main() no other thread can be inside OpenBLAS, which makes it the best time to change its kernels.
[[maybe_unused]] const BlasReport& at_start = blas_report();

}  // namespace

const BlasReport& blas_report() {
  static const BlasReport& report = *new BlasReport(prepare());
  return report;
}

std::string better_blas_core(const std::string& current, bool avx512, const char* tune, const char* coretype) {
  if (!avx512 || coretype != nullptr || (tune != nullptr && std::string(tune) == "0")) return "";
  return has_avx512(current) ? "" : "SkylakeX";
}

bool switch_blas_core(const std::string& core) {
  if (gotoblas_dynamic_quit == nullptr || gotoblas_dynamic_init == nullptr) return false;
  const char* set = std::getenv("OPENBLAS_CORETYPE");
  const std::string previous = set == nullptr ? "" : set;
  setenv("OPENBLAS_CORETYPE", core.c_str(), 1);
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
  if (set == nullptr)
    unsetenv("OPENBLAS_CORETYPE");
  else
    setenv("OPENBLAS_CORETYPE", previous.c_str(), 1);
  return blas_core() == core;
}

std::string blas_core() {
  return openblas_get_corename();
}

}  // namespace tapestry::detail
