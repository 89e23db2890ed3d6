#pragma once

#include <memory>
#include <span>
#include <string_view>

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/chain_engine.hpp>

// Chain potentials as inputs of operations: unary, transitions, and start and end where they are given.
namespace tapestry::detail {

/// Which potentials there are, and the lengths.
struct ChainForm {
  std::optional<Indices> lengths;
  bool start = false, end = false;

  int inputs() const { return 2 + start + end; }
  int start_input() const { return 2; }
  int end_input() const { return 2 + start; }
  void exchange(Attributes& a) { a(lengths), a(start), a(end); }
};

/// Whether these are potentials of a form. @throws ShapeError, IndexError
void check_chain(std::string_view operation, const ChainForm& form, std::span<const Shape> potentials);
/// The same for an operation's inputs from `first` on.
bool are_chain_potentials(const ChainForm& form, const Shapes& inputs, int first);

/// Checks potentials and gives their form. @throws ShapeError, IndexError
template <class T>
ChainForm chain_form(std::string_view operation, const ChainPotentials<T>& potentials);

/// The potentials as a list of inputs.
template <class T>
std::vector<Var<T>> chain_inputs(const ChainPotentials<T>& potentials);

/// pointers[i] is the data of input i, in the order of chain_inputs.
template <class T>
ChainInput<T> chain_input(const ChainForm& form, const Shape& unary, const Shape& transitions,
                          std::span<const T* const> pointers);

/// The sums over the batch of the first and of the last steps' rows: out[K] is added to.
template <class T>
void add_ends(const ChainInput<T>& in, const T* rows, T* start, T* end);

/// g[B] times the gradient of the log-partition for each potential.
template <class T>
class ChainGradient final : public Operation<T>, public SavedOperation {
 public:
  explicit ChainGradient(ChainForm form) : form_(std::move(form)) {}
  ChainGradient() = default;
  void attributes(Attributes& a) override { form_.exchange(a); }
  bool suits(const Shapes& in) override {
    return in.size() == 1 + form_.inputs() && are_chain_potentials(form_, in, 1) && in[0] == Shape{in[1][0]};
  }
  std::string_view name() const override { return "chain_marginals"; }
  int outputs() const override { return form_.inputs(); }
  /// Inputs: g, then the potentials.
  Shape shape(const Shapes& inputs, int output) const override { return inputs[output + 1]; }
  void forward(Forward<T>& context) override;
  void vjp(Vjp<T>& context) override;

 private:
  ChainForm form_;
};

/// The derivative of g times log-partition (output 0, [B], without g) and of ChainGradient (the others) along a
/// direction. Where a potential is infinite its direction counts as zero.
template <class T>
class ChainCurvature final : public Operation<T>, public SavedOperation {
 public:
  explicit ChainCurvature(ChainForm form) : form_(std::move(form)) {}
  ChainCurvature() = default;
  void attributes(Attributes& a) override { form_.exchange(a); }
  bool suits(const Shapes& in) override {
    const int n = form_.inputs();
    bool fits = in.size() == 1 + 2 * n && are_chain_potentials(form_, in, 1) && in[0] == Shape{in[1][0]};
    for (int i = 1; fits && i <= n; ++i) fits = in[i] == in[i + n];
    return fits;
  }
  std::string_view name() const override { return "chain_curvature"; }
  int outputs() const override { return 1 + form_.inputs(); }
  /// Inputs: g, the potentials, a direction for each potential.
  Shape shape(const Shapes& inputs, int output) const override { return inputs[output]; }
  void forward(Forward<T>& context) override;

 private:
  ChainForm form_;
};

}  // namespace tapestry::detail
