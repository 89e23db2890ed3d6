#include <tapestry/autodiff/kernels/reduce.hpp>

#include <tapestry/autodiff/kernels/reduce_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
struct Table : ReduceKernels<T> {
  Table() : ReduceKernels<T>{} {
    enter_sums<T>(*this);
    enter_extrema<T>(*this);
    enter_softmax<T>(*this);
    enter_scans<T>(*this);
  }
};

}  // namespace

template <>
const ReduceKernels<float>& kernels() {
  static const Table<float> table;
  return table;
}
template <>
const ReduceKernels<double>& kernels() {
  static const Table<double> table;
  return table;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
