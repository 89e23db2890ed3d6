#include <tapestry/autodiff/kernels/elementwise.hpp>

#include <tapestry/autodiff/kernels/math.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void accumulate(const T* x, T* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] += x[i];
}

template <class T>
constexpr ElementwiseKernels<T> table() {
  ElementwiseKernels<T> t{};
  t.accumulate = accumulate<T>;
  return t;
}

}  // namespace

template <>
const ElementwiseKernels<float>& kernels() {
  static constexpr ElementwiseKernels<float> t = table<float>();
  return t;
}
template <>
const ElementwiseKernels<double>& kernels() {
  static constexpr ElementwiseKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
