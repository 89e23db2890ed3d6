#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace tapestry {

namespace detail {
struct Node;
class TapeAccess;
}  // namespace detail

/// The linear record of operations. Each thread has one of its own; others can be made current for a scope.
/// What no variable can reach any more leaves the tape at once.
class Tape {
 public:
  Tape() = default;
  /// Clears the tape.
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// The tape that this thread records on.
  static Tape& current();

  /// Recorded operations.
  std::size_t nodes() const noexcept { return nodes_; }
  /// Bytes of the values that are kept.
  std::size_t bytes() const;
  /// Forgets all operations. Variables made by them can't be used any more (GraphError).
  void clear() noexcept;
  /// One line an operation: number, operation, shape, inputs, scope.
  void print(std::ostream& out) const;

 private:
  friend class detail::TapeAccess;
  detail::Node* first_ = nullptr;
  detail::Node* last_ = nullptr;
  std::size_t nodes_ = 0;
  std::uint64_t sequence_ = 0;
  mutable std::atomic_flag lock_;  // a variable may be released by any thread
  bool nested_ = false;            // may use variables of other tapes, which are its boundary
};

/// Makes a tape current for a scope.
class UseTape {
 public:
  explicit UseTape(Tape& tape);
  ~UseTape();
  UseTape(const UseTape&) = delete;
  UseTape& operator=(const UseTape&) = delete;

 private:
  Tape* previous_;
};

/// Whether operations on variables that require a gradient are recorded (by this thread).
bool gradients_enabled() noexcept;

/// Switches recording off (or on) for a scope.
class EnableGradients {
 public:
  explicit EnableGradients(bool enabled = true) noexcept;
  ~EnableGradients();
  EnableGradients(const EnableGradients&) = delete;
  EnableGradients& operator=(const EnableGradients&) = delete;

 private:
  bool previous_;
};
class NoGradients : public EnableGradients {
 public:
  NoGradients() noexcept : EnableGradients(false) {}
};

/// Names the operations recorded in it (nested names are joined by '/'): in error messages, prints and drawings.
class Scope {
 public:
  explicit Scope(std::string_view name);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  std::uint32_t previous_;
};

/// While on (in this thread), the first operation that makes a NaN or an infinity, forward or backward, throws a
/// NumericalError with its name, its inputs' shapes and the scope.
class DetectAnomaly {
 public:
  explicit DetectAnomaly(bool enabled = true) noexcept;
  ~DetectAnomaly();
  DetectAnomaly(const DetectAnomaly&) = delete;
  DetectAnomaly& operator=(const DetectAnomaly&) = delete;

 private:
  bool previous_;
};

namespace detail {

/// What the engine does with a tape.
class TapeAccess {
 public:
  static void append(Tape& tape, Node* node) noexcept;
  static void unlink(Node* node) noexcept;
  static Node* first(const Tape& tape) noexcept { return tape.first_; }
  static Node* last(const Tape& tape) noexcept { return tape.last_; }
  static bool nested(const Tape& tape) noexcept { return tape.nested_; }
  static void set_nested(Tape& tape) noexcept { tape.nested_ = true; }
};

bool anomaly_detection() noexcept;
std::uint32_t current_scope() noexcept;
std::string scope_name(std::uint32_t scope);

}  // namespace detail
}  // namespace tapestry
