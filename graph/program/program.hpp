#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <iosfwd>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <tapestry/autodiff/checkpoint.hpp>
#include <tapestry/autodiff/variable.hpp>
#include <tapestry/graph/program/update.hpp>

namespace tapestry {

struct Drawing;

/// What became of a captured function. Bytes are those of computed values.
struct ProgramReport {
  struct Part {
    std::size_t steps = 0;         ///< that run
    std::size_t values_bytes = 0;  ///< if each value had memory of its own
    std::size_t peak_bytes = 0;    ///< that are set aside
  };
  std::size_t recorded = 0;  ///< operations that the function evaluated
  std::size_t folded = 0;    ///< computed once, as they depend on constants only
  std::size_t merged = 0;    ///< that compute what another one does
  std::size_t dead = 0;      ///< whose results nothing reads
  Part forward;
  Part backward;  ///< forward and backward together; zero where no gradient can be asked for
  Part training;  ///< with the updates of an optimiser; zero where none is attached
};
/// A table of it.
std::ostream& operator<<(std::ostream& out, const ProgramReport& report);

/// The results of a captured function, where some are positions, such as those of top_k().
template <class T>
struct CapturedResults {
  std::vector<Var<T>> variables;  ///< one or more
  std::vector<Indices> positions;
};

/// A function that was recorded once and runs again on new inputs of the same shapes: nothing is recorded then, and the
/// memory of all values is set aside in advance. Variables that existed before are read at each run, so that a program
/// trains. Not for several threads at once.
template <class T>
class Program {
 public:
  struct State;
  Program();
  ~Program();
  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;

  std::size_t inputs() const;
  std::size_t outputs() const;
  const Shape& input_shape(std::size_t i) const;
  const Shape& output_shape(std::size_t i = 0) const;

  /// Computes the outputs. The inputs' memory is read where it is. @throws ShapeError where they do not fit
  void run(std::span<const Var<T>> inputs);
  /// Computes the outputs and the gradients of output 0: those of variables are added to their gradients, as backward()
  /// does. @throws ShapeError unless output 0 has one element, GraphError if it depends on nothing that requires a
  /// gradient
  void run_backward(std::span<const Var<T>> inputs);
  template <class... Vars>
  requires(std::is_same_v<Vars, Var<T>>&&...) void run(const Vars&... inputs) {
    run(std::span<const Var<T>>(std::array<Var<T>, sizeof...(Vars)>{inputs...}));
  }
  template <class... Vars>
  requires(std::is_same_v<Vars, Var<T>>&&...) void run_backward(const Vars&... inputs) {
    run_backward(std::span<const Var<T>>(std::array<Var<T>, sizeof...(Vars)>{inputs...}));
  }

  /// Plans train() with an optimiser, which must outlive the program.
  /// @throws GraphError if there is no gradient, or none of a parameter of the optimiser
  void attach(ParameterUpdate<T>& optimizer);
  /// One step of training: computes the outputs and lets the optimiser update its parameters, as its zero_gradients(),
  /// run_backward() and its step() do. Its parameters hold no gradient afterwards: where it can be, a gradient is used
  /// up as it is computed. An operation that fails in the backward part leaves some parameters updated.
  /// @throws GraphError unless an optimiser is attached, or if a parameter is frozen no longer that was at the capture
  void train(std::span<const Var<T>> inputs);
  template <class... Vars>
  requires(std::is_same_v<Vars, Var<T>>&&...) void train(const Vars&... inputs) {
    train(std::span<const Var<T>>(std::array<Var<T>, sizeof...(Vars)>{inputs...}));
  }

  /// A result of the last run; the next one overwrites it.
  TensorView<const T> output(std::size_t i = 0) const;
  /// Positions that the last run found, number i of those that the function gives; the next run overwrites them.
  const IndexTensor& positions(std::size_t i = 0) const;
  /// After run_backward(): the gradient of input i. @throws GraphError unless the example required a gradient
  TensorView<const T> gradient(std::size_t i = 0) const;

  const ProgramReport& report() const;
  /// The variables that are read at each run: those that require a gradient first.
  std::vector<Var<T>> variables() const;

  explicit Program(std::unique_ptr<State> state);
  /// What the library keeps of it.
  const State& state() const;

 private:
  std::unique_ptr<State> state_;
};

/// Evaluates f on example inputs and makes a program of the operations. Where an example requires a gradient, the
/// program can compute the gradient of that input.
/// @throws GraphError if f reads the value of a variable that depends on the inputs or requires a gradient
template <class T>
Program<T> capture(const MultiFunction<T>& f, const std::vector<Var<T>>& inputs);
/// With positions among the results. @throws GraphError also unless an operation of the function finds them
template <class T>
Program<T> capture(const std::function<CapturedResults<T>(const std::vector<Var<T>>&)>& f,
                   const std::vector<Var<T>>& inputs);

namespace detail {

template <class F, class T, class... Vars>
concept CapturableFunction =
    std::is_invocable_r_v<Var<T>, F, Var<T>, Vars...> || std::is_invocable_r_v<CapturedResults<T>, F, Var<T>, Vars...>;

}  // namespace detail

/// The same for f(x, y, ...) that gives a variable, or CapturedResults.
template <class F, class T, class... Vars>
requires(detail::CapturableFunction<F, T, Vars...>) Program<T> capture(const F& f, const Var<T>& first,
                                                                       const Vars&... rest) {
  const std::function<CapturedResults<T>(const std::vector<Var<T>>&)> general = [&f](const std::vector<Var<T>>& x) {
    return [&]<std::size_t... i>(std::index_sequence<i...>)->CapturedResults<T> {
      if constexpr (std::is_invocable_r_v<Var<T>, F, Var<T>, Vars...>)
        return {{f(x[i]...)}, {}};
      else
        return f(x[i]...);
    }
    (std::make_index_sequence<1 + sizeof...(Vars)>());
  };
  return capture<T>(general, std::vector<Var<T>>{first, rest...});
}

/// A program of f with an optimiser attached, so that train() makes one step of training.
template <class F, class T, class... Vars>
requires(std::is_invocable_r_v<Var<T>, F, Var<T>, Vars...>) Program<T> capture_training(const F& f,
                                                                                        ParameterUpdate<T>& optimizer,
                                                                                        const Var<T>& first,
                                                                                        const Vars&... rest) {
  Program<T> program = capture(f, first, rest...);
  program.attach(optimizer);
  return program;
}

/// The steps of a program for write_dot() and write_table(): of run(), or of run_backward().
template <class T>
Drawing draw(const Program<T>& program, bool backward = false);

extern template class Program<float>;
extern template class Program<double>;

}  // namespace tapestry
