#include <tapestry/graph/program/backward_operation.hpp>

#include <algorithm>

namespace tapestry::detail {
namespace {

// Memory that belongs to somebody else.
StorageRef borrowed() {
  return StorageRef(new_storage(0));
}

void point(Storage* storage, const void* data) {
  storage->data = const_cast<void*>(data);
}

PlannedGradient unwanted;

}  // namespace

template <class T>
BackwardOperation<T>::BackwardOperation(SharedOperation operation, BackwardLayout layout)
    : operation_(std::move(operation)),
      layout_(std::move(layout)),
      name_(std::string(operation_->name()) + " (backward)"),
      sweep_(nullptr, {}),
      results_(layout_.results.size()) {
  for (const int place : layout_.place)
    planned_.push_back(place < 0 ? &unwanted : &results_[static_cast<std::size_t>(place)]);
  node_ = NodeRef(new_node(dtype_of<T>, layout_.several_outputs ? Shape() : layout_.output_shapes[0]));
  const std::size_t count = layout_.input_shapes.size();
  node_->inputs = static_cast<Edge*>(pool_allocate(count * sizeof(Edge)));
  for (std::size_t i = 0; i < count; ++i) {
    const bool reads = std::count(layout_.read_inputs.begin(), layout_.read_inputs.end(), static_cast<int>(i)) != 0;
    Node* input = new_node(dtype_of<T>, layout_.input_shapes[i]);
    // Rules that record and differentiate a computation ask for it.
    input->requires_grad = layout_.place[i] >= 0;
    if (reads) input->value = borrowed().release();
    if (!reads) release(input, Node::value_reference);
    node_->inputs[i] = {input, 0, reads};
    node_->input_count = static_cast<std::uint16_t>(i + 1);
  }
  node_->output_needed = layout_.reads_outputs;
  if (layout_.reads_outputs) retain(node_.get(), Node::value_reference);
  if (layout_.several_outputs) {
    node_->bundle = new Bundle;
    for (const Shape& shape : layout_.output_shapes)
      node_->bundle->slots.push_back({shape, layout_.reads_outputs ? borrowed() : StorageRef(), {}, {}});
    for (const int k : layout_.gradients) node_->bundle->slots[static_cast<std::size_t>(k)].pending = borrowed();
  } else {
    if (layout_.reads_outputs) node_->value = borrowed().release();
    gradient_ = borrowed();
  }
}

template <class T>
void BackwardOperation<T>::forward(Forward<T>& c) {
  int next = 0;
  for (const int i : layout_.read_inputs) point(node_->inputs[i].node->value, c.input(next++).data);
  Bundle* bundle = node_->bundle;
  if (layout_.reads_outputs) {
    if (bundle == nullptr)
      point(node_->value, c.input(next++).data);
    else
      for (Bundle::Slot& slot : bundle->slots) point(slot.value.get(), c.input(next++).data);
  }
  for (const int k : layout_.gradients)
    point(bundle == nullptr ? gradient_.get() : bundle->slots[static_cast<std::size_t>(k)].pending.get(),
          c.input(next++).data);
  for (std::size_t k = 0; k < results_.size(); ++k) results_[k] = {c.output(static_cast<int>(k)).data, false};
  for (const int k : layout_.added) {
    const auto before = c.input(next++);
    const auto out = c.output(k);
    if (before.data != out.data) std::copy_n(before.data, before.size(), out.data);
    results_[static_cast<std::size_t>(k)].written = true;
  }
  BackwardState state{sweep_, node_.get(), gradient_, planned_.data()};
  operation_->run_backward(state);
  // An operation may leave out a gradient that is zero.
  for (std::size_t k = 0; k < results_.size(); ++k)
    if (!results_[k].written) std::fill_n(c.output(static_cast<int>(k)).data, result_shape(k).elements(), T(0));
}

template <class T>
std::vector<InPlace> BackwardOperation<T>::in_place() const {
  std::vector<InPlace> out;
  std::size_t next = layout_.read_inputs.size() + layout_.gradients.size();
  if (layout_.reads_outputs) next += layout_.output_shapes.size();
  for (const int k : layout_.added) out.push_back({static_cast<std::uint32_t>(next++), static_cast<std::uint32_t>(k)});
  return out;
}

template class BackwardOperation<float>;
template class BackwardOperation<double>;

}  // namespace tapestry::detail
