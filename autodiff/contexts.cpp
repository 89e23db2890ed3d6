#include <cstring>
#include <span>

#include <tapestry/autodiff/bundle.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/sweep.hpp>

namespace tapestry {
template <class T>
int Backward<T>::inputs() const noexcept {
  return state_.node->input_count;
}
template <class T>
bool Backward<T>::wants(int i) const noexcept {
  if (state_.planned != nullptr) return state_.planned[i]->data != nullptr;
  return state_.sweep.wants(state_.node->inputs[i].node);
}
template <class T>
Array<const T> Backward<T>::input(int i) const {
  const detail::Node* node = state_.node->inputs[i].node;
  return {node->data<const T>(), node->shape};
}
template <class T>
const Shape& Backward<T>::input_shape(int i) const noexcept {
  return state_.node->inputs[i].node->shape;
}
template <class T>
const T* Backward<T>::input_data(int i) const noexcept {
  const detail::Edge& edge = state_.node->inputs[i];
  return edge.needed && edge.node->value != nullptr ? static_cast<const T*>(edge.node->value->data) : nullptr;
}
template <class T>
const T* Backward<T>::output_data() const noexcept {
  return state_.node->output_needed ? static_cast<const T*>(state_.node->value->data) : nullptr;
}
template <class T>
Array<const T> Backward<T>::output(int i) const {
  const detail::Node* node = state_.node;
  if (node->bundle == nullptr) return {node->data<const T>(), node->shape};
  const detail::Bundle::Slot& slot = node->bundle->slots[static_cast<std::size_t>(i)];
  return {slot.value.template as<const T>(), slot.shape};
}
template <class T>
bool Backward<T>::has_gradient(int i) const noexcept {
  return state_.node->bundle == nullptr || state_.node->bundle->slots[static_cast<std::size_t>(i)].pending;
}
template <class T>
Array<const T> Backward<T>::gradient(int i) const {
  const detail::Node* node = state_.node;
  if (node->bundle == nullptr) {
    detail::spread_uniform(node->dtype, node->elements(), state_.gradient);
    return {state_.gradient.template as<const T>(), node->shape};
  }
  detail::Bundle::Slot& slot = node->bundle->slots[static_cast<std::size_t>(i)];
  if (!slot.pending) slot.pending = detail::zero_storage(static_cast<std::size_t>(slot.shape.elements()) * sizeof(T));
  return {slot.pending.template as<const T>(), slot.shape};
}
template <class T>
Target<T> Backward<T>::target(int i) {
  detail::Node* node = state_.node->inputs[i].node;
  if (state_.planned != nullptr) {
    detail::PlannedGradient& place = *state_.planned[i];
    return {static_cast<T*>(place.data), node->shape, std::exchange(place.written, true)};
  }
  detail::StorageRef& slot = state_.sweep.slot(node);
  const bool accumulate = static_cast<bool>(slot);
  if (!accumulate)
    slot = detail::StorageRef(detail::new_storage(node->bytes()));
  else if (!slot.unique())
    slot = detail::copy_storage(*slot.get());
  return {slot.template as<T>(), node->shape, accumulate};
}
template <class T>
T* Backward<T>::add_to(int i) {
  const Target<T> place = target(i);
  if (!place.accumulate)
    std::memset(static_cast<void*>(place.data), 0, static_cast<std::size_t>(place.size()) * sizeof(T));
  return place.data;
}
template <class T>
const T* Backward<T>::uniform_gradient() const noexcept {
  return state_.gradient && state_.gradient->uniform ? state_.gradient.template as<const T>() : nullptr;
}
template <class T>
void Backward<T>::add_uniform(int i, T value) {
  if (state_.planned != nullptr) {
    const Target<T> place = target(i);
    for (T& element : std::span(place.data, static_cast<std::size_t>(place.size())))
      element = place.accumulate ? element + value : value;
    return;
  }
  detail::StorageRef element(detail::new_storage(sizeof(T)));
  *element.template as<T>() = value;
  state_.sweep.add_uniform(state_.node->inputs[i].node, std::move(element));
}
template <class T>
bool Backward<T>::last() const noexcept {
  return state_.planned == nullptr && state_.sweep.frees_graph();
}
template <class T>
bool Backward<T>::first(int i) {
  if (state_.planned != nullptr) return !state_.planned[i]->written;
  return state_.sweep.untouched(state_.node->inputs[i].node);
}
template <class T>
void Backward<T>::give(int i, detail::StorageRef gradient) {
  if (state_.planned != nullptr) return add_planned(*state_.planned[i], state_.node->inputs[i].node, gradient->data);
  state_.sweep.add(state_.node->inputs[i].node, std::move(gradient));
}
template <class T>
void Backward<T>::pass(int i) {
  if (state_.planned != nullptr) return add_planned(*state_.planned[i], state_.node->inputs[i].node, gradient().data);
  if (const T* element = uniform_gradient())
    add_uniform(i, *element);
  else
    state_.sweep.add(state_.node->inputs[i].node, state_.gradient);
}
template <class T>
void Backward<T>::pass_reduced(int i) {
  if (state_.node->inputs[i].node->shape == state_.node->shape)
    pass(i);
  else
    add_reduced(i, gradient().data);
}
template <class T>
void Backward<T>::add_reduced(int i, const T* full) {
  const Target<T> place = target(i);
  detail::sum_to(full, state_.node->shape, place.data, place.shape, place.accumulate);
}
template <class T>
void Backward<T>::add_rows(int i, const Indices& rows, const T* values) {
  detail::Node* node = state_.node->inputs[i].node;
  if (state_.planned != nullptr) {
    detail::scatter_rows(detail::dtype_of<T>, add_to(i), node->shape, rows, values);
    return;
  }
  const std::int64_t row = node->shape[0] == 0 ? 0 : node->elements() / node->shape[0];
  detail::StorageRef storage(detail::new_storage(static_cast<std::size_t>(rows.size() * row) * sizeof(T)));
  if (storage->bytes > 0) std::memcpy(storage->data, values, storage->bytes);
  // A copy: new rows may be assigned while the gradient waits for its use.
  state_.sweep.add_rows(node, {rows.tensor(), std::move(storage)});
}

template <class T>
int Vjp<T>::inputs() const noexcept {
  return state_.node->input_count;
}
template <class T>
bool Vjp<T>::wants(int i) const noexcept {
  if (state_.collected != nullptr && state_.only >= 0) return i == state_.only;
  return state_.collected != nullptr || state_.sweep->wants(state_.node->inputs[i].node);
}
template <class T>
Var<T> Vjp<T>::input(int i) const {
  return Var<T>(detail::NodeRef::share(state_.node->inputs[i].node));
}
template <class T>
Var<T> Vjp<T>::output(int i) const {
  if (state_.node->bundle == nullptr) return Var<T>(detail::NodeRef::share(state_.node));
  return Var<T>(detail::bundle_output(state_.node, i));
}
template <class T>
bool Vjp<T>::has_gradient(int i) const noexcept {
  if (state_.node->bundle == nullptr) return true;
  if (!state_.gradients.empty()) return static_cast<bool>(state_.gradients[static_cast<std::size_t>(i)]);
  const auto& slot = state_.node->bundle->slots[static_cast<std::size_t>(i)];
  return slot.pending || slot.pending_variable;
}
template <class T>
Var<T> Vjp<T>::gradient(int i) const {
  if (state_.node->bundle == nullptr) return Var<T>(state_.gradient);
  if (!state_.gradients.empty()) return Var<T>(state_.gradients[static_cast<std::size_t>(i)]);
  const auto& slot = state_.node->bundle->slots[static_cast<std::size_t>(i)];
  if (slot.pending_variable) return Var<T>(slot.pending_variable);
  if (slot.pending) return Var<T>(detail::make_leaf(detail::dtype_of<T>, slot.shape, slot.pending, false));
  return Var<T>::zeros(slot.shape);
}
template <class T>
const Shape& Vjp<T>::shape(int i) const noexcept {
  return state_.node->inputs[i].node->shape;
}
template <class T>
void Vjp<T>::add(int i, const Var<T>& gradient) {
  detail::Node* node = state_.node->inputs[i].node;
  const bool reduce = state_.only < 0 && gradient.shape() != node->shape;
  const Var<T> fitted = reduce ? sum_to(gradient, node->shape) : gradient;
  if (state_.collected != nullptr) {
    detail::NodeRef& sum = state_.collected[i];
    sum = sum ? (Var<T>(sum) + fitted).reference() : fitted.reference();
  } else if (state_.sweep->create_graph()) {
    state_.sweep->add_variable(node, fitted.reference());
  } else {
    state_.sweep->add(node, detail::StorageRef::share(fitted.node()->value));
  }
}

template <class T>
int Jvp<T>::inputs() const noexcept {
  return state_.node->input_count;
}
template <class T>
Var<T> Jvp<T>::input(int i) const {
  return Var<T>(detail::NodeRef::share(state_.node->inputs[i].node));
}
template <class T>
Var<T> Jvp<T>::output(int i) const {
  if (state_.node->bundle == nullptr) return Var<T>(detail::NodeRef::share(state_.node));
  return Var<T>(detail::bundle_output(state_.node, i));
}
template <class T>
bool Jvp<T>::has_tangent(int i) const noexcept {
  return static_cast<bool>(state_.tangents[static_cast<std::size_t>(i)]);
}
template <class T>
Var<T> Jvp<T>::tangent(int i) const {
  const detail::NodeRef& tangent = state_.tangents[static_cast<std::size_t>(i)];
  return tangent ? Var<T>(tangent) : Var<T>::zeros(state_.node->inputs[i].node->shape);
}

template class Backward<float>;
template class Backward<double>;
template class Vjp<float>;
template class Vjp<double>;
template class Jvp<float>;
template class Jvp<double>;

}  // namespace tapestry
