#include <tapestry/autodiff/variable.hpp>

#include <algorithm>
#include <cstring>

#include <tapestry/autodiff/gradient.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry {
namespace detail {

NodeRef make_leaf(DType dtype, const Shape& shape, StorageRef value, bool requires_grad) {
  NodeRef node(new_node(dtype, shape));
  node->value = value.release();
  node->requires_grad = requires_grad;
  if (requires_grad) node->gradient = new Gradient;
  return node;
}

NodeRef make_leaf(DType dtype, const Shape& shape, bool requires_grad) {
  const auto bytes = static_cast<std::size_t>(shape.elements()) * element_size(dtype);
  return make_leaf(dtype, shape, StorageRef(new_storage(bytes)), requires_grad);
}

template <class T>
StorageRef adopt(Tensor<T>&& tensor) {
  // Small tensors are copied: the container that would be kept costs more than their memory.
  const std::size_t bytes = tensor.size() * sizeof(T);
  if (bytes <= 1024) {
    StorageRef storage(new_storage(bytes));
    if (bytes > 0) std::memcpy(storage->data, tensor.data(), bytes);
    return storage;
  }
  auto* storage = ::new (pool_allocate(storage_header)) Storage;
  auto* owner = new Tensor<T>(std::move(tensor));
  storage->bytes = bytes;
  storage->data = owner->data();
  storage->owner = owner;
  storage->release_owner = [](void* p) { delete static_cast<Tensor<T>*>(p); };
  return StorageRef(storage);
}
template StorageRef adopt(Tensor<float>&&);
template StorageRef adopt(Tensor<double>&&);

}  // namespace detail

template <class T>
Var<T>::Var(T value) : node_(detail::make_leaf(detail::dtype_of<T>, Shape(), false)) {
  *node_->template data<T>() = value;
}

template <class T>
Var<T>::Var(Tensor<T> value, bool requires_grad) {
  const Shape shape = shape_of(value);
  node_ = detail::make_leaf(detail::dtype_of<T>, shape, detail::adopt(std::move(value)), requires_grad);
}

template <class T>
Var<T> Var<T>::filled(const Shape& shape, T value, bool requires_grad) {
  Var out(detail::make_leaf(detail::dtype_of<T>, shape, requires_grad));
  std::fill_n(out.node_->template data<T>(), shape.elements(), value);
  return out;
}

template <class T>
detail::Node& Var<T>::checked() const {
  if (!node_) fail<GraphError>("variable", "has no value");
  if (node_->cleared) fail<GraphError>("variable", "of shape ", node_->shape, " belongs to a tape that was cleared");
  return *node_.get();
}

template <class T>
detail::Node& Var<T>::readable() const {
  detail::Node& node = checked();
  if (detail::Observer* observer = detail::observer()) observer->touched(&node);
  return node;
}

template <class T>
TensorView<const T> Var<T>::value() const {
  const detail::Node& node = readable();
  return detail::adapt<const T>(node.data<const T>(), node.shape, detail::StorageRef::share(node.value));
}

template <class T>
Tensor<T> Var<T>::tensor() const {
  const detail::Node& node = readable();
  Tensor<T> out = empty_tensor<T>(node.shape);
  std::copy_n(node.data<const T>(), node.elements(), out.data());
  return out;
}

template <class T>
T Var<T>::item() const {
  if (size() != 1) fail<ShapeError>("item", "a variable of shape ", shape(), " has not one element");
  return *data();
}

template <class T>
T* Var<T>::mutable_data() {
  detail::Node& node = readable();
  if (node.recorded)
    fail<GraphError>("mutable_value", "the result of a recorded operation can't be changed; detach() it");
  ++node.value->version;
  return node.data<T>();
}

template <class T>
TensorView<T> Var<T>::mutable_value() {
  T* data = mutable_data();
  return detail::adapt<T>(data, node_->shape, detail::StorageRef::share(node_->value));
}

template <class T>
void Var<T>::assign(const Tensor<T>& value) {
  if (shape_of(value) != shape())
    fail<ShapeError>("assign", "shape ", shape_of(value), " to a variable of shape ", shape());
  std::copy_n(value.data(), size(), mutable_data());
}

template <class T>
Var<T>& Var<T>::set_requires_grad(bool requires_grad) {
  detail::Node& node = checked();
  if (node.recorded) fail<GraphError>("set_requires_grad", "only leaves can be told whether they require a gradient");
  node.requires_grad = requires_grad;
  if (requires_grad && node.gradient == nullptr) node.gradient = new detail::Gradient;
  return *this;
}

template <class T>
bool Var<T>::has_gradient() const {
  const detail::Gradient* gradient = checked().gradient;
  return gradient != nullptr && (gradient->dense || !gradient->rows.empty());
}

template <class T>
TensorView<T> Var<T>::mutable_gradient() {
  if (!has_gradient())
    fail<GraphError>("gradient", "a variable of shape ", shape(), " has none; call backward() first");
  detail::Gradient& gradient = *node_->gradient;
  if (!gradient.rows.empty()) {
    if (!gradient.dense) gradient.dense = detail::zero_storage(node_->bytes());
    for (const auto& piece : gradient.rows)
      detail::scatter_rows(node_->dtype, gradient.dense->data, node_->shape, piece);
    gradient.rows.clear();
  }
  return detail::adapt<T>(gradient.dense.template as<T>(), node_->shape, gradient.dense);
}

template <class T>
TensorView<const T> Var<T>::gradient() const {
  Var same = *this;
  same.mutable_gradient();
  const detail::Gradient& gradient = *node_->gradient;
  return detail::adapt<const T>(gradient.dense.template as<const T>(), node_->shape, gradient.dense);
}

template <class T>
std::optional<SparseRows<T>> Var<T>::sparse_gradient() const {
  if (!has_gradient() || node_->gradient->dense) return std::nullopt;
  const auto& pieces = node_->gradient->rows;
  std::int64_t rows = 0;
  for (const auto& piece : pieces) rows += piece.rows.size();
  Shape shape = node_->shape;
  shape[0] = rows;
  SparseRows<T> out{empty_tensor<std::int64_t>({rows}), empty_tensor<T>(shape)};
  std::int64_t* row = out.rows.data();
  T* value = out.values.data();
  for (const auto& piece : pieces) {
    row = std::copy_n(piece.rows.data(), piece.rows.size(), row);
    value = std::copy_n(piece.values.template as<const T>(), piece.values->bytes / sizeof(T), value);
  }
  return out;
}

template <class T>
void Var<T>::zero_gradient() {
  if (detail::Gradient* gradient = checked().gradient) {
    gradient->dense = detail::StorageRef();
    gradient->rows.clear();
  }
}

template <class T>
void Var<T>::set_gradient(const Tensor<T>& value) {
  detail::Node& node = checked();
  if (shape_of(value) != node.shape)
    fail<ShapeError>("set_gradient", "shape ", shape_of(value), " for a variable of shape ", node.shape);
  if (node.gradient == nullptr) node.gradient = new detail::Gradient;
  node.gradient->rows.clear();
  node.gradient->dense = detail::adopt(Tensor<T>(value));
}

template <class T>
Var<T>& Var<T>::retain_gradient() {
  detail::Node& node = checked();
  if (node.gradient == nullptr) node.gradient = new detail::Gradient;
  return *this;
}

template <class T>
void Var<T>::backward(BackwardOptions options) const {
  if (size() != 1)
    fail<ShapeError>("backward", "needs a seed for a variable of shape ", shape(),
                     "; only one element has a natural one");
  backward_from(Tensor<T>(detail::xtensor_shape(shape()), T(1)), options);
}

template <class T>
void Var<T>::backward_from(const Tensor<T>& seed, BackwardOptions options) const {
  detail::Node& node = checked();
  if (detail::capturing())
    fail<GraphError>("backward", "can't be called in a function that is captured: return the result of grad()");
  if (shape_of(seed) != node.shape)
    fail<ShapeError>("backward", "seed of shape ", shape_of(seed), " for a variable of shape ", node.shape);
  if (!node.requires_grad)
    fail<GraphError>("backward", "the variable of shape ", node.shape, " depends on nothing that requires a gradient");
  detail::Sweep sweep(node.recorded ? node.tape : nullptr,
                      {.retain_graph = options.retain_graph, .create_graph = false});
  detail::Node* root = &node;
  sweep.seed(root, Var(seed).reference());
  sweep.run();
  sweep.commit();
}

template <class T>
Var<T> Var<T>::detach() const {
  const detail::Node& node = checked();
  Var out(detail::make_leaf(node.dtype, node.shape, detail::StorageRef::share(node.value), false));
  if (detail::Observer* observer = detail::observer()) observer->renamed(&node, out.node());
  return out;
}

template class Var<float>;
template class Var<double>;

}  // namespace tapestry
