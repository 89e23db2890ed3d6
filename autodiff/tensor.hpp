#pragma once

#include <cstdint>
#include <memory>

#include <xtensor/xarray.hpp>

#include <tapestry/autodiff/pool.hpp>
#include <tapestry/autodiff/shape.hpp>

namespace tapestry {

/// The array type: a row-major xtensor container with pooled, 64-byte aligned storage. T is float or double.
template <class T>
using Tensor = xt::xarray_container<xt::uvector<T, detail::PoolAllocator<T>>, xt::layout_type::row_major,
                                    xt::svector<std::size_t, 4>, xt::xtensor_expression_tag>;

/// Indices and labels: an array that is no variable.
using IndexTensor = Tensor<std::int64_t>;

/// The shape of any xtensor expression.
template <class E>
Shape shape_of(const xt::xexpression<E>& e) {
  const auto& shape = e.derived_cast().shape();
  return Shape(shape.begin(), shape.end());
}

/// An uninitialised tensor of that shape.
template <class T>
Tensor<T> empty_tensor(const Shape& shape) {
  return Tensor<T>(xt::svector<std::size_t, 4>(shape.begin(), shape.end()));
}

/// A shared, immutable array of indices: what operations keep of the labels and positions they are given. Copies are
/// cheap; a captured program overwrites the contents where the array is one of its inputs.
class Indices {
 public:
  Indices() : Indices(IndexTensor()) {}
  Indices(IndexTensor values) : values_(std::make_shared<IndexTensor>(std::move(values))), shape_(shape_of(*values_)) {}
  template <class E>
  Indices(const xt::xexpression<E>& values) : Indices(IndexTensor(values)) {}
  Indices(std::initializer_list<std::int64_t> values)
      : Indices(IndexTensor(xt::svector<std::size_t, 4>{values.size()})) {
    std::copy(values.begin(), values.end(), values_->begin());
  }

  const IndexTensor& tensor() const noexcept { return *values_; }
  const std::int64_t* data() const noexcept { return values_->data(); }
  const Shape& shape() const noexcept { return shape_; }
  std::int64_t size() const noexcept { return shape_.elements(); }
  std::int64_t operator[](std::int64_t i) const noexcept { return values_->data()[i]; }
  /// Whether both are the same array in memory.
  bool same(const Indices& other) const noexcept { return values_ == other.values_; }
  /// Copies new contents of the same shape in. @throws ShapeError
  void assign(const IndexTensor& values);

 private:
  std::shared_ptr<IndexTensor> values_;
  Shape shape_;
};

}  // namespace tapestry
