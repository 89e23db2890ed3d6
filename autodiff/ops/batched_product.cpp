#include <tapestry/autodiff/ops/batched_product.hpp>

#include <algorithm>
#include <array>

#include <tapestry/autodiff/blas.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;

// Leaves out axes of extent 1, and joins an axis with the next one inward where one step spans it in all three.
void merge(PooledVector<ProductAxis>& axes) {
  std::size_t kept = 0;
  for (const ProductAxis& axis : axes) {
    if (axis.extent == 1) continue;
    if (kept > 0) {
      ProductAxis& last = axes[kept - 1];
      if (last.a == axis.extent * axis.a && last.b == axis.extent * axis.b && last.c == axis.extent * axis.c) {
        last = {last.extent * axis.extent, axis.a, axis.b, axis.c};
        continue;
      }
    }
    axes[kept++] = axis;
  }
  axes.resize(kept);
}

template <class T>
void multiply_axis(const ProductAxis& axis, const ProductSize& s, const T* a, const T* b, T beta, T* c) {
  const Int lda = s.trans_a ? s.m : s.k, ldb = s.trans_b ? s.k : s.n;
  if (axis.c != 0 || axis.extent == 1)
    return gemm_batched_strided(s.trans_a, s.trans_b, axis.extent, s.m, s.n, s.k, T(1), a, lda, axis.a, b, ldb, axis.b,
                                beta, c, s.n, axis.c);
  // Items that follow one another along the summed axis are one long product.
  if ((s.trans_a || s.m == 1) && axis.a == s.k * s.m && (!s.trans_b || s.n == 1) && axis.b == s.k * s.n)
    return gemm(true, false, s.m, s.n, s.k * axis.extent, T(1), a, s.m, b, s.n, beta, c, s.n);
  for (Int i = 0; i < axis.extent; ++i)
    gemm(s.trans_a, s.trans_b, s.m, s.n, s.k, T(1), a + i * axis.a, lda, b + i * axis.b, ldb, i == 0 ? beta : T(1), c,
         s.n);
}

}  // namespace

PooledVector<ProductAxis> product_axes(const Shape& batch, const Shape& a, const Shape& b, const Shape& c) {
  const auto steps_a = broadcast_strides(a), steps_b = broadcast_strides(b), steps_c = broadcast_strides(c);
  const auto step = [&](const Shape& shape, const std::array<Int, Shape::max_rank>& steps, int axis) {
    const int own = axis - (batch.rank() + 2 - shape.rank());
    return own < 0 ? Int{0} : steps[static_cast<std::size_t>(own)];
  };
  PooledVector<ProductAxis> axes;
  for (int i = 0; i < batch.rank(); ++i)
    axes.push_back({batch[i], step(a, steps_a, i), step(b, steps_b, i), step(c, steps_c, i)});
  return axes;
}

template <class T>
void multiply_batch(PooledVector<ProductAxis> axes, ProductSize size, const T* a, const T* b, T* c, bool accumulate) {
  Int items = 1, results = 1;
  bool summed = false;
  for (const ProductAxis& axis : axes) {
    items *= axis.extent;
    if (axis.c != 0) results *= axis.extent;
    summed |= axis.c == 0 && axis.extent > 1;
  }
  if (items == 0) {
    // c does not move along an axis of extent 1 either, so that its size does not depend on those.
    if (!accumulate) std::fill_n(c, results * size.m * size.n, T(0));
    return;
  }
  merge(axes);
  const ProductAxis inner = axes.empty() ? ProductAxis{1, 0, 0, 0} : axes.back();
  if (axes.size() <= 1) return multiply_axis(inner, size, a, b, accumulate ? T(1) : T(0), c);
  axes.pop_back();
  if (summed && !accumulate) std::fill_n(c, results * size.m * size.n, T(0));
  const T beta = summed || accumulate ? T(1) : T(0);
  PooledVector<Int> position(axes.size(), 0);
  for (;;) {
    multiply_axis(inner, size, a, b, beta, c);
    std::size_t axis = axes.size();
    while (axis > 0) {
      --axis;
      a += axes[axis].a, b += axes[axis].b, c += axes[axis].c;
      if (++position[axis] < axes[axis].extent) break;
      position[axis] = 0;
      a -= axes[axis].extent * axes[axis].a, b -= axes[axis].extent * axes[axis].b,
          c -= axes[axis].extent * axes[axis].c;
      if (axis == 0) return;
    }
  }
}

template void multiply_batch(PooledVector<ProductAxis>, ProductSize, const float*, const float*, float*, bool);
template void multiply_batch(PooledVector<ProductAxis>, ProductSize, const double*, const double*, double*, bool);

}  // namespace tapestry::detail
