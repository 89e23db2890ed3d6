#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <tapestry/autodiff/node.hpp>
#include <tapestry/autodiff/pool.hpp>
#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Which values an operation's derivative rules read: the others are freed as soon as no variable holds them.
/// Bit i stands for input i (bit 30 for all from 30 on).
struct Needs {
  static constexpr std::uint32_t output = std::uint32_t{1} << 31;
  static constexpr std::uint32_t all_inputs = output - 1;
  static constexpr std::uint32_t everything = ~std::uint32_t{0};
  static constexpr std::uint32_t nothing = 0;
  static constexpr std::uint32_t input(int i) { return std::uint32_t{1} << (i < 30 ? i : 30); }
};

/// What the engine may assume of an operation's derivative in forward mode.
enum class Linearity {
  general,      ///< by its jvp() rule, or by transposing the vjp() rule twice
  elementwise,  ///< output element i depends on input elements i (after broadcasting) only: the Jacobian is diagonal
  linear,       ///< jointly linear in all inputs: the derivative is the operation itself
  multilinear,  ///< linear in each input
};

namespace detail {

class Sweep;
struct BackwardState;
struct ElementwiseForm;
template <class Context>
auto& state_of(Context& context) noexcept {
  return context.state_;
}
struct VjpState;
struct JvpState;

/// The shapes of an operation's inputs.
class Shapes {
 public:
  Shapes(Node* const* nodes, std::size_t count) : nodes_(nodes), count_(count) {}
  int size() const noexcept { return static_cast<int>(count_); }
  const Shape& operator[](int i) const noexcept { return nodes_[i]->shape; }

 private:
  Node* const* nodes_;
  std::size_t count_;
};

/// Input and output memory of a forward evaluation.
struct ForwardState {
  const void* const* inputs;
  const Shape* const* input_shapes;
  std::size_t input_count;
  void* const* outputs;
  const Shape* const* output_shapes;
};

/// The engine's view of an operation; operations derive from Operation<T> below.
class OperationBase {
 public:
  OperationBase() = default;
  OperationBase(const OperationBase&) = delete;
  OperationBase& operator=(const OperationBase&) = delete;
  virtual ~OperationBase() = default;

  /// The operation's name, as it appears in messages, prints and drawings.
  virtual std::string_view name() const = 0;
  virtual int outputs() const { return 1; }
  /// The shape of an output. @throws ShapeError where the inputs do not fit
  virtual Shape shape(const Shapes& inputs, int output) const = 0;
  virtual std::uint32_t needs() const { return Needs::everything; }
  virtual Linearity linearity() const { return Linearity::general; }
  virtual DType dtype() const = 0;
  /// Whether run_backward() reads gradients that are one element for all.
  virtual bool takes_uniform_gradient() const { return false; }
  /// Whether the output is the memory of input 0 under another shape: nothing is computed or copied then.
  virtual bool shares_input() const { return false; }
  /// Whether each evaluation gives another result: captured programs then evaluate it in every run.
  virtual bool random() const { return false; }
  /// Describes an operation that one of the elementwise kernels computes; captured programs run chains of them in one
  /// pass. @return whether it is one
  virtual bool elementwise_form(ElementwiseForm&) const { return false; }

  virtual void run_forward(const ForwardState& state) = 0;
  virtual void run_backward(BackwardState& state) = 0;
  virtual void run_vjp(VjpState& state) = 0;
  /// @return the tangent of each output; null where the rule does not exist
  virtual std::vector<NodeRef> run_jvp(JvpState& state) = 0;

  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* p, std::size_t bytes) { pool_deallocate(p, bytes); }

 private:
  friend void retain_operation(OperationBase*) noexcept;
  friend void release_operation(OperationBase*) noexcept;
  friend class OperationRef;
  std::atomic<std::uint32_t> references_{1};
};

inline void retain_operation(OperationBase* operation) noexcept {
  count_add(operation->references_, std::uint32_t{1});
}
inline void release_operation(OperationBase* operation) noexcept {
  if (count_add(operation->references_, ~std::uint32_t{0}) == 0) delete operation;
}

/// Evaluates an operation and records it where that is called for. Takes over one reference to the operation.
/// @return one node, or for several outputs one each
NodeRef apply_one(OperationBase* operation, Node* const* inputs, std::size_t count);
std::vector<NodeRef> apply_all(OperationBase* operation, Node* const* inputs, std::size_t count);

}  // namespace detail

/// A contiguous row-major array that an operation reads (const T) or writes.
template <class T>
struct Array {
  T* data;
  const Shape& shape;

  std::int64_t size() const noexcept { return shape.elements(); }
  T* begin() const noexcept { return data; }
  T* end() const noexcept { return data + size(); }
  T& operator[](std::int64_t i) const noexcept { return data[i]; }
};

/// What forward() is given.
template <class T>
class Forward {
 public:
  explicit Forward(const detail::ForwardState& state) : state_(state) {}
  int inputs() const noexcept { return static_cast<int>(state_.input_count); }
  Array<const T> input(int i) const noexcept {
    return {static_cast<const T*>(state_.inputs[i]), *state_.input_shapes[i]};
  }
  /// Uninitialised memory, to be written.
  Array<T> output(int i = 0) const noexcept { return {static_cast<T*>(state_.outputs[i]), *state_.output_shapes[i]}; }

 private:
  const detail::ForwardState& state_;
};

/// Where backward() puts the gradient of an input: writes it, or adds it where `accumulate` is set.
template <class T>
struct Target {
  T* data;
  const Shape& shape;
  bool accumulate;
  std::int64_t size() const noexcept { return shape.elements(); }
};

/// What backward() is given: values and the output's gradient as arrays.
template <class T>
class Backward {
 public:
  explicit Backward(detail::BackwardState& state) : state_(state) {}
  int inputs() const noexcept;
  /// Whether input i's gradient is asked for.
  bool wants(int i) const noexcept;
  Array<const T> input(int i) const;
  const Shape& input_shape(int i) const noexcept;
  /// Null where needs() leaves input i out.
  const T* input_data(int i) const noexcept;
  Array<const T> output(int i = 0) const;
  const T* output_data() const noexcept;
  /// Gradient of output i. For several outputs one may be missing: see has_gradient().
  Array<const T> gradient(int i = 0) const;
  bool has_gradient(int i = 0) const noexcept;
  /// For an operation that takes_uniform_gradient(): the element that stands for all, or null where there is an array.
  const T* uniform_gradient() const noexcept;
  /// The same number for all elements of input i's gradient.
  void add_uniform(int i, T value);
  /// Whether what the operation keeps may be used up here, as no other backward pass will follow.
  bool last() const noexcept;
  /// Whether nothing was added to input i's gradient yet.
  bool first(int i);
  /// Memory of the operation's own that holds the gradient of input i.
  void give(int i, detail::StorageRef gradient);
  /// Memory for input i's gradient: to be written, or added to. Ask for it right before writing: two inputs may be the
  /// same variable.
  Target<T> target(int i);
  /// Zeroed or already holding other contributions: to be added to.
  T* add_to(int i);
  /// The output's gradient is input i's too (same number of elements): no copy where it can be helped.
  void pass(int i);
  /// The output's gradient summed over the axes along which input i was broadcast.
  void pass_reduced(int i);
  /// A full-size gradient (shape of the output) summed over the axes along which input i was broadcast.
  void add_reduced(int i, const T* full);
  /// The gradient of some rows (slices of axis 0) of input i; values are [rows, elements of a row].
  void add_rows(int i, const Indices& rows, const T* values);

 private:
  template <class Context>
  friend auto& detail::state_of(Context&) noexcept;
  detail::BackwardState& state_;
};

/// What vjp() is given: values and the output's gradient as variables.
template <class T>
class Vjp {
 public:
  explicit Vjp(detail::VjpState& state) : state_(state) {}
  int inputs() const noexcept;
  bool wants(int i) const noexcept;
  Var<T> input(int i) const;
  Var<T> output(int i = 0) const;
  /// Zeros where output i of several has none.
  Var<T> gradient(int i = 0) const;
  bool has_gradient(int i = 0) const noexcept;
  const Shape& shape(int i) const noexcept;
  /// Adds to input i's gradient; a broadcast gradient is summed to the input's shape.
  void add(int i, const Var<T>& gradient);

 private:
  detail::VjpState& state_;
};

/// What jvp() is given.
template <class T>
class Jvp {
 public:
  explicit Jvp(detail::JvpState& state) : state_(state) {}
  int inputs() const noexcept;
  Var<T> input(int i) const;
  Var<T> output(int i = 0) const;
  bool has_tangent(int i) const noexcept;
  /// The tangent of input i; zeros where it has none.
  Var<T> tangent(int i) const;

 private:
  detail::JvpState& state_;
};

/// An operation on tensors of T. Derive, give name(), shape(), forward() and vjp() (written in operations on
/// variables: higher orders and forward mode follow), and for speed backward() (on arrays); apply() records it.
/// State set in forward() (masks, indices) belongs to the operation object, of which every call makes a new one.
template <class T>
class Operation : public detail::OperationBase {
 public:
  using Shapes = detail::Shapes;
  detail::DType dtype() const final { return detail::dtype_of<T>; }

  /// Computes the outputs. Also called when a captured program runs again on new inputs.
  virtual void forward(Forward<T>& context) = 0;
  /// First-order gradients on arrays. Unless overridden: the vjp() rule, not recorded.
  virtual void backward(Backward<T>& context);
  /// The gradient in operations on variables. @throws GraphError unless overridden
  virtual void vjp(Vjp<T>& context);
  /// The tangents of the outputs, in operations on variables. Unless overridden, derived from linearity() or vjp().
  virtual std::vector<Var<T>> jvp(Jvp<T>& context);

  void run_forward(const detail::ForwardState& state) final {
    Forward<T> context(state);
    forward(context);
  }
  void run_backward(detail::BackwardState& state) final {
    Backward<T> context(state);
    backward(context);
  }
  void run_vjp(detail::VjpState& state) final {
    Vjp<T> context(state);
    vjp(context);
  }
  std::vector<detail::NodeRef> run_jvp(detail::JvpState& state) final;
};

/// Evaluates `operation` on the inputs, and records it if gradients are enabled and an input requires one.
/// @throws ShapeError, or what the operation throws; nothing is recorded then
template <class T>
Var<T> apply(std::unique_ptr<Operation<T>> operation, std::span<const Var<T>> inputs);
template <class T>
std::vector<Var<T>> apply_all(std::unique_ptr<Operation<T>> operation, std::span<const Var<T>> inputs);

namespace detail {
/// Records one of the stateless operations that serve every call.
template <class T, class... Vars>
Var<T> apply_shared(OperationBase* operation, const Var<T>& first, const Vars&... rest) {
  Node* const nodes[] = {first.node(), rest.node()...};
  retain_operation(operation);
  return Var<T>(apply_one(operation, nodes, 1 + sizeof...(rest)));
}
}  // namespace detail

/// The short form for a fixed number of inputs: record(std::make_unique<Softmax<T>>(axis), x).
template <class Op, class T, class... Vars>
Var<T> record(std::unique_ptr<Op> operation, const Var<T>& first, const Vars&... rest) {
  detail::Node* const nodes[] = {first.node(), rest.node()...};
  return Var<T>(detail::apply_one(operation.release(), nodes, 1 + sizeof...(rest)));
}

extern template class Backward<float>;
extern template class Backward<double>;
extern template class Vjp<float>;
extern template class Vjp<double>;
extern template class Jvp<float>;
extern template class Jvp<double>;
extern template class Operation<float>;
extern template class Operation<double>;

}  // namespace tapestry
