#include <cstdlib>
#include <string_view>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {
namespace {

InstructionSet best_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return InstructionSet::avx512;
  if (avx2) return InstructionSet::avx2;
#endif
  return InstructionSet::baseline;
}

InstructionSet choose() {
  const InstructionSet best = best_instruction_set();
  const char* wanted = std::getenv("TAPESTRY_ISA");
  if (wanted == nullptr) return best;
  const std::string_view name = wanted;
  const InstructionSet asked = name == "baseline" ? InstructionSet::baseline
                               : name == "avx2"   ? InstructionSet::avx2
                                                  : InstructionSet::avx512;
  return asked < best ? asked : best;
}

}  // namespace

InstructionSet instruction_set() {
  static const InstructionSet chosen = choose();
  return chosen;
}

}  // namespace tapestry::detail
