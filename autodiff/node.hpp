#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/shape.hpp>
#include <tapestry/autodiff/storage.hpp>

namespace tapestry {

class Tape;

namespace detail {

class OperationBase;
struct Node;
struct Gradient;
struct Bundle;

enum class DType : std::uint8_t { float32, float64 };
template <class T>
inline constexpr DType dtype_of = sizeof(T) == 4 ? DType::float32 : DType::float64;
inline std::size_t element_size(DType type) noexcept {
  return type == DType::float32 ? 4 : 8;
}

/// One input of a recorded operation, with the version of its value if the derivative rule will read it.
struct Edge {
  Node* node;
  std::uint32_t version;
  bool needed;
};

/// A value and how it was made. A node is kept alive by handles (Var) and by the recorded nodes that use it; its value
/// is kept only as long as there are handles or derivative rules that will read it.
struct Node {
  // Low half: all references. High half: those that may read the value.
  static constexpr std::uint64_t edge_reference = 1;
  static constexpr std::uint64_t value_reference = std::uint64_t{1} << 32;
  static constexpr std::uint64_t handle_reference = value_reference + edge_reference;

  std::atomic<std::uint64_t> references{handle_reference};
  DType dtype = DType::float32;
  bool requires_grad = false;
  bool recorded = false;       ///< has an operation and stands in a tape's list
  bool graph_freed = false;    ///< a backward pass took the operation away
  bool cleared = false;        ///< its tape was cleared
  bool output_needed = false;  ///< its own derivative rule reads the value
  bool is_target = false;      ///< of the gradient sweep under way
  std::uint16_t input_count = 0;
  std::uint32_t version = 0;       ///< of the value when it was made
  std::uint32_t mark = 0;          ///< of the last sweep that needs this node
  std::uint32_t scope = 0;         ///< index into the scope names
  std::uint32_t output_index = 0;  ///< which output of a bundle this is
  std::uint64_t sequence = 0;
  Tape* tape = nullptr;
  Node* previous = nullptr;
  Node* next = nullptr;
  OperationBase* operation = nullptr;
  Edge* inputs = nullptr;
  Storage* value = nullptr;
  StorageRef pending;                ///< gradient collected by a first-order sweep
  Node* pending_variable = nullptr;  ///< gradient collected by a sweep that records itself
  Gradient* gradient = nullptr;      ///< accumulated gradient of a leaf or of a retained node
  Bundle* bundle = nullptr;          ///< the values of an operation with several outputs
  Shape shape;

  std::int64_t elements() const noexcept { return shape.elements(); }
  std::size_t bytes() const noexcept { return static_cast<std::size_t>(elements()) * element_size(dtype); }
  template <class T>
  T* data() const {
    if (value == nullptr) throw_no_value();
    return static_cast<T*>(value->data);
  }
  [[noreturn]] void throw_no_value() const;
};

Node* new_node(DType dtype, const Shape& shape);
/// Takes references away; frees the value or the node, and what only it kept alive, without recursion.
void release(Node* node, std::uint64_t references) noexcept;
inline void retain(Node* node, std::uint64_t references) noexcept {
  count_add(node->references, references);
}
/// Lets go of a recorded node's operation and inputs.
void free_graph(Node* node) noexcept;

/// Owning pointer to a node, counting as a handle.
class NodeRef {
 public:
  NodeRef() = default;
  /// Takes over one handle reference.
  explicit NodeRef(Node* node) noexcept : node_(node) {}
  static NodeRef share(Node* node) noexcept {
    if (node != nullptr) retain(node, Node::handle_reference);
    return NodeRef(node);
  }
  NodeRef(const NodeRef& other) noexcept : NodeRef(share(other.node_)) {}
  NodeRef(NodeRef&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  NodeRef& operator=(NodeRef other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~NodeRef() {
    if (node_ != nullptr) release(node_, Node::handle_reference);
  }
  Node* get() const noexcept { return node_; }
  Node* operator->() const noexcept { return node_; }
  Node* take() noexcept { return std::exchange(node_, nullptr); }
  explicit operator bool() const noexcept { return node_ != nullptr; }

 private:
  Node* node_ = nullptr;
};

}  // namespace detail
}  // namespace tapestry
