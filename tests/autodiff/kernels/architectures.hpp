#pragma once

#include <tapestry/autodiff/kernels/dispatch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace tapestry::test {

template <class Table>
struct InstructionSetTable {
  std::string name;
  const Table* table;
};

/// The tables of all instruction sets that this machine runs, with their names.
template <class Table>
std::vector<InstructionSetTable<Table>> tables() {
  std::vector<InstructionSetTable<Table>> all{{"baseline", &detail::baseline::kernels<Table>()}};
#if defined(__x86_64__)
  if (detail::instruction_set() >= detail::InstructionSet::avx2)
    all.push_back({"avx2", &detail::avx2::kernels<Table>()});
  if (detail::instruction_set() >= detail::InstructionSet::avx512)
    all.push_back({"avx512", &detail::avx512::kernels<Table>()});
#endif
  return all;
}

/// The distance of x from the exact value in units in the last place of T there; 0 where x is the exact value rounded.
template <class T>
double ulps(T x, long double exact) {
  if (std::isnan(exact)) return std::isnan(x) ? 0 : std::numeric_limits<double>::infinity();
  const T rounded = T(exact);
  if (x == rounded) return 0;
  if (std::isinf(rounded) || std::isnan(x) || std::isinf(x)) return std::numeric_limits<double>::infinity();
  int exponent = 0;
  std::frexp(exact, &exponent);
  const int lowest = std::numeric_limits<T>::min_exponent;
  const long double ulp = std::ldexp(1.0L, std::max(exponent, lowest) - std::numeric_limits<T>::digits);
  return double(std::fabs((long double)x - exact) / ulp);
}

}  // namespace tapestry::test
