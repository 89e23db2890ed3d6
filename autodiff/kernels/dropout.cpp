#include <tapestry/autodiff/kernels/dropout.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void drop(const std::uint32_t* words, std::uint32_t threshold, const T* x, T scale, std::uint8_t* kept, T* y,
          std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const bool keep = words[i] >= threshold;
    kept[i] = keep;
    y[i] = keep ? scale * x[i] : T(0);
  }
}

template <class T>
void select(const std::uint8_t* kept, T scale, const T* x, T* out, std::int64_t n, bool accumulate) {
  if (accumulate)
    for (std::int64_t i = 0; i < n; ++i) out[i] += kept[i] != 0 ? scale * x[i] : T(0);
  else
    for (std::int64_t i = 0; i < n; ++i) out[i] = kept[i] != 0 ? scale * x[i] : T(0);
}

template <class T>
constexpr DropoutKernels<T> table{drop<T>, select<T>};

}  // namespace

template <>
const DropoutKernels<float>& kernels() {
  return table<float>;
}
template <>
const DropoutKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
