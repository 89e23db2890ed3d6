#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/node.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry::detail {

/// Is told of the operations of a thread: profilers and captures.
class Observer {
 public:
  virtual ~Observer() = default;
  /// An operation is about to be evaluated, or its gradient to be computed.
  virtual void begin(const OperationBase&, std::uint32_t /*scope*/, bool /*backward*/) {}
  /// The evaluation that began last has ended; `bytes` is the size of its results (of an evaluation only).
  virtual void end(const Shape&, std::size_t /*bytes*/) {}

  /// Whether the operations are to become a program: nothing may then depend on values, and gradients are computed by
  /// operations that are applied.
  virtual bool capturing() const { return false; }
  /// An operation was evaluated; `result` is its node, the bundle for several outputs.
  virtual void applied(OperationBase&, Node* const* /*inputs*/, std::size_t /*count*/, Node* /*result*/) {}
  /// A new node for output i of a bundle.
  virtual void unbundled(const Node* /*bundle*/, int /*i*/, Node* /*output*/) {}
  /// A new node with the value of another.
  virtual void renamed(const Node* /*from*/, Node* /*to*/) {}
  /// The program around reads a value, or changes it. @throws GraphError where it may not
  virtual void touched(const Node*) {}
};

/// The observer of this thread, or null.
Observer* observer() noexcept;
inline bool capturing() {
  const Observer* now = observer();
  return now != nullptr && now->capturing();
}

/// Makes an observer the thread's for a scope.
class UseObserver {
 public:
  explicit UseObserver(Observer* observer) noexcept;
  ~UseObserver();
  UseObserver(const UseObserver&) = delete;
  UseObserver& operator=(const UseObserver&) = delete;

 private:
  Observer* previous_;
};

/// Tells the thread's observer that an operation begins, and that it ends.
class Observed {
 public:
  /// @param node the recorded operation whose gradient is computed; null for an evaluation
  explicit Observed(const OperationBase& operation, const Node* node = nullptr) : observer_(observer()) {
    if (observer_ != nullptr) [[unlikely]]
      observer_->begin(operation, node == nullptr ? current_scope() : node->scope, node != nullptr);
  }
  ~Observed() {
    if (observer_ != nullptr) [[unlikely]]
      observer_->end(shape_, bytes_);
  }
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;
  void result(const Shape& shape, std::size_t bytes) noexcept {
    if (observer_ == nullptr) return;
    shape_ = shape;
    bytes_ = bytes;
  }
  void applied(OperationBase& operation, Node* const* inputs, std::size_t count, Node* result) const {
    if (observer_ != nullptr) [[unlikely]]
      observer_->applied(operation, inputs, count, result);
  }

 private:
  Observer* observer_;
  Shape shape_;
  std::size_t bytes_ = 0;
};

}  // namespace tapestry::detail
