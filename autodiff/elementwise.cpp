#include <tapestry/autodiff/elementwise/functions.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {

template <class T>
void block_unary(Unary f, const T* x, T* y) {
  kernels<ElementwiseKernels<T>>().unary[static_cast<int>(f)](x, y, block_bytes / sizeof(T));
}

template <class T>
void block_parametric(Parametric f, const T* x, T parameter, T* y) {
  kernels<ElementwiseKernels<T>>().parametric[static_cast<int>(f)](x, parameter, T(0), y, block_bytes / sizeof(T));
}

template <class T>
void multiply_into(const T* g, bool repeat, const T* partial, T* out, std::int64_t n, bool accumulate) {
  constexpr std::int64_t grain = 32768;
  if (repeat) {
    const auto& table = kernels<ElementwiseKernels<T>>();
    parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
      const auto size = static_cast<std::size_t>(end - begin);
      if (*g == T(0)) {
        if (!accumulate) table.fill(T(0), out + begin, size);
      } else if (accumulate) {
        table.add_scaled(*g, partial + begin, out + begin, size);
      } else {
        table.scale(*g, partial + begin, out + begin, size);
      }
    });
    return;
  }
  const auto multiply = kernels<ElementwiseKernels<T>>().binary_backward_a[static_cast<int>(Binary::multiply)];
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    multiply(g + begin, partial + begin, 1, partial + begin, 1, nullptr, out + begin,
             static_cast<std::size_t>(end - begin), accumulate);
  });
}

#define TAPESTRY_INSTANTIATE(T)                                \
  template void block_unary(Unary, const T*, T*);              \
  template void block_parametric(Parametric, const T*, T, T*); \
  template void multiply_into(const T*, bool, const T*, T*, std::int64_t, bool);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
