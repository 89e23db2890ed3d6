#include <tapestry/autodiff/onednn.hpp>

#if defined(TAPESTRY_ONEDNN)
#include <dlfcn.h>
#include <dnnl.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <tapestry/autodiff/kernels/dispatch.hpp>
#endif

namespace tapestry::detail {

#if defined(TAPESTRY_ONEDNN)
namespace {

// The OpenMP runtime that oneDNN brought into the process: products are split over Tapestry's threads, not its own.
struct OpenMp {
  int (*get_max_threads)() = reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
  void (*set_num_threads)(int) = reinterpret_cast<void (*)(int)>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  bool found() const { return get_max_threads != nullptr && set_num_threads != nullptr; }
};
const OpenMp& open_mp() {
  static const OpenMp runtime;
  return runtime;
}

// The number is the calling thread's own; the user's is put back.
class OneThread {
 public:
  OneThread() : before_(open_mp().get_max_threads()) {
    if (before_ != 1) open_mp().set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) open_mp().set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

bool in_use() {
  static const bool use = [] {
    const char* wanted = std::getenv("TAPESTRY_ONEDNN");
    return (wanted == nullptr || std::string_view(wanted) != "0") && instruction_set() == InstructionSet::avx512 &&
           open_mp().found();
  }();
  return use;
}

}  // namespace

bool onednn_wins(std::int64_t m, std::int64_t n, std::int64_t k) {
  // At 64^3 OpenBLAS is faster by a sixth, from some 10^6 multiplications on oneDNN by a tenth and more.
  return in_use() && static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) >= 1 << 20;
}

void onednn_gemm(bool trans_a, bool trans_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
                 const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c,
                 std::int64_t ldc) {
  const OneThread one;
  dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, alpha, a, std::max(lda, trans_a ? m : k), b,
             std::max(ldb, trans_b ? k : n), beta, c, std::max(ldc, n));
}

std::string onednn_version() {
  if (!in_use()) return {};
  const dnnl_version_t* version = dnnl_version();
  return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch);
}

#else

bool onednn_wins(std::int64_t, std::int64_t, std::int64_t) {
  return false;
}
void onednn_gemm(bool, bool, std::int64_t, std::int64_t, std::int64_t, float, const float*, std::int64_t, const float*,
                 std::int64_t, float, float*, std::int64_t) {}
std::string onednn_version() {
  return {};
}

#endif

}  // namespace tapestry::detail
