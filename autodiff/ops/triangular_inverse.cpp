#include <tapestry/autodiff/ops/triangular_inverse.hpp>

#include <algorithm>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/storage.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;

constexpr Int smallest = 16;

// Row by row: x_i = (e_i - sum_{k < i} l_ik x_k) / l_ii.
template <class T>
void invert_small(Int n, T* x, Int ld) {
  T row[smallest];
  for (Int i = 0; i < n; ++i) {
    T* out = x + i * ld;
    std::copy_n(out, i, row);
    std::fill_n(out, i, T(0));
    const T scale = T(1) / out[i];
    for (Int k = 0; k < i; ++k) {
      const T factor = -scale * row[k];
      for (Int j = 0; j <= k; ++j) out[j] += factor * x[k * ld + j];
    }
    out[i] = scale;
  }
}

// [a 0; c b]^-1 = [a^-1 0; -b^-1 c a^-1, b^-1]. The products leave out a quarter of what is zero in the triangles.
template <class T>
void invert(Int n, T* x, Int ld, T* scratch) {
  if (n <= smallest) return invert_small(n, x, ld);
  const Int first = (n / 2 + smallest - 1) / smallest * smallest, second = n - first;
  T *const c = x + first * ld, *const b = c + first;
  invert(first, x, ld, scratch);
  invert(second, b, ld, scratch);
  const Int left = first < 64 ? 0 : first / 2, top = second < 64 ? 0 : second / 2;
  if (left > 0) gemm(false, false, second, left, first, T(1), c, ld, x, ld, T(0), scratch, first);
  gemm(false, false, second, first - left, first - left, T(1), c + left, ld, x + left * ld + left, ld, T(0),
       scratch + left, first);
  if (top > 0) gemm(false, false, top, first, top, T(-1), b, ld, scratch, first, T(0), c, ld);
  gemm(false, false, second - top, first, second, T(-1), b + top * ld, ld, scratch, first, T(0), c + top * ld, ld);
}

}  // namespace

template <class T>
void invert_lower(Int n, T* x, Int ld) {
  const Scratch<T> scratch(static_cast<std::size_t>((n / 2 + smallest) * (n / 2 + smallest)));
  invert(n, x, ld, scratch.data());
}

template void invert_lower(Int, float*, Int);
template void invert_lower(Int, double*, Int);

}  // namespace tapestry::detail
