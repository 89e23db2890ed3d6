#include <tapestry/autodiff/kernels/substitution.hpp>

#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

/// The next `height` rows, from the rows above them, in U vectors of columns of which the last has m elements.
template <class T, int height, int U>
TAPESTRY_INLINE void next_rows(const T* l, std::size_t ld, std::size_t above, T* x, std::size_t stride, std::size_t m) {
  Vec<T> sum[height][U];
  const auto at = [&](std::size_t row, int u)
                      TAPESTRY_ALWAYS_INLINE { return x + row * stride + std::size_t(u) * lanes<T>; };
  const auto get = [&](std::size_t row, int u) TAPESTRY_ALWAYS_INLINE {
    return u + 1 == U ? load_partial<T>(at(row, u), m) : load<T>(at(row, u));
  };
  for (std::size_t i = 0; i < height; ++i)
    for (int u = 0; u < U; ++u) sum[i][u] = get(above + i, u);
  for (std::size_t k = 0; k < above; ++k)
    for (int u = 0; u < U; ++u) {
      const Vec<T> solved = get(k, u);
      for (std::size_t i = 0; i < height; ++i) sum[i][u] -= l[(above + i) * ld + k] * solved;
    }
  for (std::size_t i = 0; i < height; ++i) {
    const T* row = l + (above + i) * ld + above;
    const T inverse = T(1) / row[i];
    for (int u = 0; u < U; ++u) {
      for (std::size_t k = 0; k < i; ++k) sum[i][u] -= row[k] * sum[k][u];
      sum[i][u] *= inverse;
      if (u + 1 == U)
        store_partial<T>(at(above + i, u), sum[i][u], m);
      else
        store<T>(at(above + i, u), sum[i][u]);
    }
  }
}

template <class T, int U>
TAPESTRY_INLINE void columns_of(const T* l, std::size_t ld, std::size_t n, T* x, std::size_t stride, std::size_t m) {
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) next_rows<T, 4, U>(l, ld, i, x, stride, m);
  for (; i < n; ++i) next_rows<T, 1, U>(l, ld, i, x, stride, m);
}

template <class T>
void forward(const T* l, std::size_t ld, std::size_t n, T* x, std::size_t stride, std::size_t columns) {
  constexpr std::size_t wide = 4 * lanes<T>;
  std::size_t j = 0;
  for (; j + wide <= columns; j += wide) columns_of<T, 4>(l, ld, n, x + j, stride, lanes<T>);
  for (; j < columns; j += lanes<T>)
    columns_of<T, 1>(l, ld, n, x + j, stride, columns - j < lanes<T> ? columns - j : lanes<T>);
}

}  // namespace

template <>
const SubstitutionKernels<float>& kernels() {
  static constexpr SubstitutionKernels<float> t = {forward<float>};
  return t;
}
template <>
const SubstitutionKernels<double>& kernels() {
  static constexpr SubstitutionKernels<double> t = {forward<double>};
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
