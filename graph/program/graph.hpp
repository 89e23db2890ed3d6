#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <tapestry/autodiff/elementwise_form.hpp>
#include <tapestry/autodiff/node.hpp>
#include <tapestry/autodiff/operation.hpp>

namespace tapestry::detail {

/// Owning pointer to an operation.
class SharedOperation {
 public:
  SharedOperation() = default;
  /// Takes over one reference.
  explicit SharedOperation(OperationBase* operation) noexcept : operation_(operation) {}
  static SharedOperation share(OperationBase* operation) noexcept {
    if (operation != nullptr) retain_operation(operation);
    return SharedOperation(operation);
  }
  SharedOperation(const SharedOperation& other) noexcept : SharedOperation(share(other.operation_)) {}
  SharedOperation(SharedOperation&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)) {}
  SharedOperation& operator=(SharedOperation other) noexcept {
    std::swap(operation_, other.operation_);
    return *this;
  }
  ~SharedOperation() {
    if (operation_ != nullptr) release_operation(operation_);
  }
  OperationBase* get() const noexcept { return operation_; }
  OperationBase* operator->() const noexcept { return operation_; }
  explicit operator bool() const noexcept { return operation_ != nullptr; }

 private:
  OperationBase* operation_ = nullptr;
};

using ValueId = std::uint32_t;
inline constexpr ValueId no_value = std::numeric_limits<ValueId>::max();

struct Window;

/// A value of a captured program.
struct ProgramValue {
  enum class Kind {
    input,
    variable,  ///< a leaf that existed before: its memory is read at each run
    constant,  ///< a leaf that nobody else holds, or that depends on constants only
    computed,
  };
  Kind kind = Kind::computed;
  Shape shape;
  bool differentiable = false;  ///< its gradient may be asked for
  NodeRef node;                 ///< of a variable or a constant
  ValueId root = no_value;      ///< whose memory this is: itself, unless it is the result of a reshape and the like
};

/// An output of a step that may take the memory of one of its inputs.
struct InPlace {
  std::uint32_t input, output;
};

struct ProgramStep {
  SharedOperation operation;  ///< null for the gradient of an elementwise function before fusion
  std::string name;
  std::vector<ValueId> inputs, outputs;
  std::uint32_t scope = 0;
  bool elementwise = false;  ///< whether `form` says what it computes
  ElementwiseForm form;
  std::shared_ptr<const Window> window;  ///< where `form` is one
  std::vector<InPlace> in_place;
};

/// A program before its memory is planned: steps in an order in which they can run.
struct ProgramGraph {
  DType dtype = DType::float32;
  std::vector<ProgramValue> values;
  std::vector<ProgramStep> steps;
  std::vector<ValueId> inputs, outputs;
  std::vector<Indices> positions;  ///< results that are no variables: steps write them

  std::size_t bytes(ValueId id) const {
    return static_cast<std::size_t>(values[id].shape.elements()) * element_size(dtype);
  }
  ValueId add(const Shape& shape) {
    const auto id = static_cast<ValueId>(values.size());
    values.push_back({ProgramValue::Kind::computed, shape, false, {}, id});
    return id;
  }
  /// The memory of another value under a shape.
  ValueId alias(ValueId of, const Shape& shape) {
    const ValueId id = add(shape);
    values[id].root = values[of].root;
    return id;
  }
};

/// Computes steps of constants now.
void fold_constants(ProgramGraph& graph);
/// Merges steps that compute the same. @return how many were taken away
std::size_t merge_common_steps(ProgramGraph& graph);
/// Removes steps whose results nothing reads. @return how many
std::size_t remove_dead_steps(ProgramGraph& graph);
/// Lets slices and padding take part in fusion, one after the other as one.
void find_windows(ProgramGraph& graph);
/// A part of a variable's gradient by rows (slices along axis 0): where in `wanted` the variable is, and the gradient
/// of the rows that `rows` names at the time.
struct RowsGradient {
  std::size_t wanted;
  ValueId values;
  Indices rows;
};
/// What append_gradients() found.
struct AppendedGradients {
  std::vector<ValueId> whole;      ///< for each wanted value, no_value where there is none
  std::vector<RowsGradient> rows;  ///< of variables that are nothing but looked up in; they have no other
};
/// Appends the gradients of output 0, which has one element, with respect to the wanted values.
AppendedGradients append_gradients(ProgramGraph& graph, const std::vector<ValueId>& wanted);
/// Lets the steps after the first `forward` ones compute again what is cheap, rather than have it kept for them.
void recompute_cheap_steps(ProgramGraph& graph, std::size_t forward);
/// Puts chains of elementwise steps into one step each.
void fuse_elementwise_steps(ProgramGraph& graph);

}  // namespace tapestry::detail
