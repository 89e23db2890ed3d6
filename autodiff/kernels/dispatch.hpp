#pragma once

namespace tapestry::detail {

/// The instruction sets that kernels are compiled for.
enum class InstructionSet { baseline, avx2, avx512 };

/// The best set that this machine runs, or what TAPESTRY_ISA asks for (baseline, avx2, avx512) where that is less.
InstructionSet instruction_set();

// A kernel table is a struct of function pointers. Each file under a folder named `kernels` specialises
// kernels<Table>() in namespace TAPESTRY_ARCH, and is compiled once for each set. Such files must not include
// library headers with inline functions (the linker might keep the AVX-512 copy for everybody): <cstddef>,
// <cstdint>, <cstring> and the headers of this folder only.
namespace baseline {
template <class Table>
const Table& kernels();
}
namespace avx2 {
template <class Table>
const Table& kernels();
}
namespace avx512 {
template <class Table>
const Table& kernels();
}

/// The table for the instruction set in use.
template <class Table>
const Table& kernels() {
#if defined(__x86_64__)
  static const Table& table = instruction_set() == InstructionSet::avx512 ? avx512::kernels<Table>()
                              : instruction_set() == InstructionSet::avx2 ? avx2::kernels<Table>()
                                                                         : baseline::kernels<Table>();
  return table;
#else
  return baseline::kernels<Table>();
#endif
}

}  // namespace tapestry::detail
