#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <xtensor/xadapt.hpp>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/node.hpp>
#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

namespace detail {

/// The part of an xtensor view that keeps a value's memory alive (xtensor asks for something callable).
struct KeepAlive {
  StorageRef owner;
  void operator()() const noexcept {}
};
using XShape = xt::svector<std::size_t, 4>;
inline XShape xtensor_shape(const Shape& shape) {
  return XShape(shape.begin(), shape.end());
}

NodeRef make_leaf(DType dtype, const Shape& shape, bool requires_grad);
NodeRef make_leaf(DType dtype, const Shape& shape, StorageRef value, bool requires_grad);
template <class T>
StorageRef adopt(Tensor<T>&& tensor);

}  // namespace detail

/// An xtensor expression over a variable's memory, which it keeps alive.
template <class T>
using TensorView = xt::xarray_adaptor<xt::xbuffer_adaptor<T*, xt::no_ownership, detail::KeepAlive>,
                                      xt::layout_type::row_major, detail::XShape>;

namespace detail {
template <class T>
TensorView<T> adapt(T* data, const Shape& shape, StorageRef owner) {
  const auto n = static_cast<std::size_t>(shape.elements());
  return TensorView<T>(xt::xbuffer_adaptor<T*, xt::no_ownership, KeepAlive>(data, n, KeepAlive{std::move(owner)}),
                       xtensor_shape(shape));
}
}  // namespace detail

/// The gradient of a table by rows: values[i] belongs to row rows[i]; a row may occur several times.
template <class T>
struct SparseRows {
  IndexTensor rows;
  Tensor<T> values;
};

struct BackwardOptions {
  /// Keep the graph for another backward pass.
  bool retain_graph = false;
};

/// A value on the tape: a cheap handle to a tensor and to how it was computed.
template <class T>
class Var {
 public:
  using value_type = T;

  /// No value; using it in an operation throws.
  Var() = default;
  /// A constant of rank 0.
  Var(T value);
  /// A constant (or with requires_grad a leaf) that takes the tensor over.
  explicit Var(Tensor<T> value, bool requires_grad = false);
  template <class E>
  explicit Var(const xt::xexpression<E>& value, bool requires_grad = false) : Var(Tensor<T>(value), requires_grad) {}
  explicit Var(detail::NodeRef node) noexcept : node_(std::move(node)) {}

  /// Leaves and constants of a given shape.
  static Var filled(const Shape& shape, T value, bool requires_grad = false);
  static Var zeros(const Shape& shape) { return filled(shape, T(0)); }
  static Var ones(const Shape& shape) { return filled(shape, T(1)); }

  bool defined() const noexcept { return static_cast<bool>(node_); }
  const Shape& shape() const { return checked().shape; }
  int rank() const { return shape().rank(); }
  std::int64_t size() const { return shape().elements(); }
  /// Extent of an axis; negative ones count from the end.
  std::int64_t extent(std::int64_t axis) const { return shape()[normalize_axis("extent", axis, shape())]; }

  /// The value as an xtensor expression that reads the variable's memory.
  TensorView<const T> value() const;
  /// A copy of the value.
  Tensor<T> tensor() const;
  const T* data() const { return readable().template data<T>(); }
  /// The only element. @throws ShapeError if there are several
  T item() const;
  /// The value for a change in place: a backward pass that still needs the old value will say so.
  /// @throws GraphError for a value that an operation computed and that requires a gradient
  TensorView<T> mutable_value();
  T* mutable_data();
  /// Copies a tensor of the same shape in. @throws ShapeError
  void assign(const Tensor<T>& value);

  bool requires_grad() const { return checked().requires_grad; }
  /// @throws GraphError on the result of an operation
  Var& set_requires_grad(bool requires_grad);
  /// Whether this is a leaf: not the result of a recorded operation.
  bool leaf() const { return !checked().recorded && !checked().graph_freed; }

  bool has_gradient() const;
  /// The accumulated gradient, dense. @throws GraphError if there is none
  TensorView<const T> gradient() const;
  TensorView<T> mutable_gradient();
  /// The gradient by rows, if that is all there is (embedding lookups).
  std::optional<SparseRows<T>> sparse_gradient() const;
  void zero_gradient();
  void set_gradient(const Tensor<T>& gradient);
  /// Keep the gradient of this non-leaf at the next backward pass.
  Var& retain_gradient();

  /// Adds the gradients of this variable to those of the leaves it depends on.
  /// @throws ShapeError unless it has one element, GraphError if the graph was freed, cleared or changed
  void backward(BackwardOptions options = {}) const;
  /// With a seed, an xtensor expression of this variable's shape: the gradient of its dot product with this variable.
  template <class E>
  void backward(const xt::xexpression<E>& seed, BackwardOptions options = {}) const {
    backward_from(Tensor<T>(seed), options);
  }

  /// The same value without its history.
  Var detach() const;

  detail::Node* node() const noexcept { return node_.get(); }
  const detail::NodeRef& reference() const noexcept { return node_; }

 private:
  void backward_from(const Tensor<T>& seed, BackwardOptions options) const;
  detail::Node& checked() const;
  /// The node, where a capture does not forbid to read its value.
  detail::Node& readable() const;
  detail::NodeRef node_;
};

/// A leaf that requires a gradient.
template <class T>
Var<T> variable(Tensor<T> value) {
  return Var<T>(std::move(value), true);
}
/// A constant.
template <class T>
Var<T> constant(Tensor<T> value) {
  return Var<T>(std::move(value), false);
}

extern template class Var<float>;
extern template class Var<double>;

}  // namespace tapestry
