#pragma once

#include <string>

#include <tapestry/autodiff/kernels/dispatch.hpp>

/// Calls f(table, name) with the kernel table of every instruction set that this machine runs.
template <class Table, class F>
void for_each_instruction_set(F&& f) {
  using namespace tapestry::detail;
  f(baseline::kernels<Table>(), std::string("baseline"));
#if defined(__x86_64__)
  if (instruction_set() >= InstructionSet::avx2) f(avx2::kernels<Table>(), std::string("avx2"));
  if (instruction_set() >= InstructionSet::avx512) f(avx512::kernels<Table>(), std::string("avx512"));
#endif
}
