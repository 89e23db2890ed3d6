#pragma once

#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/shape.hpp>

namespace tapestry::detail {

/// One axis of a batch of matrix products: elements from one item to the next in both factors and in the result. A
/// factor that does not move is shared; a result that does not move is summed over the axis.
struct ProductAxis {
  std::int64_t extent, a, b, c;
};

/// Extents of the products op(a) op(b), [m, k] x [k, n], where op transposes.
struct ProductSize {
  bool trans_a, trans_b;
  std::int64_t m, n, k;
};

/// The axes of a batch over which three arrays [..., rows, columns] lie, each broadcast to `batch`.
PooledVector<ProductAxis> product_axes(const Shape& batch, const Shape& a, const Shape& b, const Shape& c);

/// c (+)= op(a) op(b) for all items, as few and as large products as the strides allow. The matrices are contiguous,
/// and so is c.
template <class T>
void multiply_batch(PooledVector<ProductAxis> axes, ProductSize size, const T* a, const T* b, T* c, bool accumulate);

}  // namespace tapestry::detail
