#pragma once

#include <algorithm>
#include <utility>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/recurrent_layout.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {

/// What the operations of recurrent layers share: results (the hidden states of all steps, then last states), lengths,
/// and the walks through time, with the products that all steps have alike.
template <class T>
class RecurrentOperation : public Operation<T>, public SavedOperation {
 public:
  using typename Operation<T>::Shapes;
  using Int = std::int64_t;

  RecurrentOperation(const RecurrentLayout& layout, std::optional<Indices> lengths)
      : l_(layout), lengths_(std::move(lengths)) {}
  RecurrentOperation() = default;

  /// The layout follows from the inputs.
  void attributes(Attributes& a) final { a(l_.reverse), a(lengths_); }

  Shape shape(const Shapes&, int output) const final {
    return output == 0 ? Shape{l_.steps, l_.batch, l_.hidden} : Shape{l_.batch, l_.hidden};
  }
  std::uint32_t needs() const final { return Needs::all_inputs; }

 protected:
  /// Takes the layout from the inputs. @throws ShapeError where the states and weights do not fit
  void set_layout(Int gates, const Shape& x, const Shape& hidden, const Shape& weight_input,
                  const Shape& weight_hidden) {
    l_ = recurrent_layout(this->name(), gates, x, hidden, weight_input, weight_hidden, l_.reverse);
    check_lengths_shape(this->name(), lengths_, l_.batch);
  }
  /// Elements of a step: of states, of states with filled-up blocks, of gates.
  Int state() const { return l_.batch * l_.hidden; }
  Int padded_state() const { return l_.batch * l_.padded; }
  Int step() const { return l_.batch * l_.width; }

  /// Null where there are no lengths: all sequences go on.
  const std::uint8_t* active(Int t) const { return active_.empty() ? nullptr : active_.data() + t * l_.batch; }

  /// What forward() starts with: lengths, the first hidden state, and the inputs' part of the gates of all steps.
  void start(Forward<T>& c, int x, int hidden_input, int weight_input) {
    active_ = active_steps(this->name(), l_, lengths_);
    T* hidden = room(hidden_, (l_.steps + 1) * state());
    std::copy_n(c.input(hidden_input).data, state(), hidden + l_.first_state() * state());
    const Scratch<T> arranged(static_cast<std::size_t>(l_.width * l_.inputs));
    arrange_gates(l_, c.input(weight_input).data, l_.inputs, arranged.data());
    gemm(false, true, l_.rows(), l_.width, l_.inputs, T(1), c.input(x).data, l_.inputs, arranged.data(), l_.inputs,
         T(0), room(gates_, l_.steps * step()), l_.width);
  }

  /// Calls f(product with the hidden weights, t, block) in the order of time, for the blocks of a step in parallel.
  template <class F>
  void forward_in_time(Forward<T>& c, int weight_hidden, F f) const {
    const auto product = hidden_product<HiddenProduct<T>>(c, weight_hidden);
    const Int grain = std::max<Int>(1, chunk_work / std::max<Int>(1, state() * l_.block_width()));
    for (Int s = 0; s < l_.steps; ++s)
      parallel_for(l_.blocks, grain, [&](Int begin, Int end) {
        for (Int block = begin; block < end; ++block) f(product, l_.time(s), block);
      });
  }

  /// Calls f(t, first unit of a block) against the order of time, for the blocks of a step in parallel. f turns the
  /// gradient dh of the states after the step into what passes around the gates, and sets the step's part of
  /// gate_gradient, which the hidden weights bring to the states before.
  template <class F>
  void backward_in_time(Backward<T>& c, int weight_hidden, const T* gate_gradient, T* dh, F f) const {
    const auto product = hidden_product<HiddenProductBackward<T>>(c, weight_hidden);
    const T* outer = c.has_gradient(0) ? c.gradient(0).data : nullptr;
    const Int group = product.group, groups = (l_.padded + group - 1) / group;
    const Int grain = std::max<Int>(1, chunk_work / std::max<Int>(1, step() * group));
    // The product of a step is left to the next one, whose units it gives: one fork for both.
    for (Int s = l_.steps - 1; s >= -1; --s)
      parallel_for(groups, grain, [&](Int begin, Int end) {
        for (Int i = begin; i < end; ++i) {
          if (s + 1 < l_.steps) product(i, gate_gradient + l_.time(s + 1) * step(), dh);
          if (s < 0) continue;
          const Int t = l_.time(s), first = i * group, last = std::min(first + group, l_.padded);
          if (outer != nullptr) add_output_gradient(l_, active(t), outer + t * state(), first, last, dh);
          for (Int unit = first; unit < last; unit += recurrent_block) f(t, unit);
        }
      });
  }

  /// The gradient of a last state, zero where it has none, with filled-up blocks.
  void load_gradient(Backward<T>& c, int output, T* gradient) const {
    std::fill_n(gradient, padded_state(), T(0));
    if (c.has_gradient(output)) copy_states(l_, c.gradient(output).data, l_.hidden, gradient, l_.padded, false);
  }
  void store_gradient(Backward<T>& c, int input, const T* gradient) const {
    if (!c.wants(input)) return;
    const Target<T> to = c.target(input);
    copy_states(l_, gradient, l_.padded, to.data, l_.hidden, to.accumulate);
  }

  /// The rule for what the gates are linear in, from the gates' gradient [steps * batch, gates * hidden].
  void input_rules(Vjp<T>& c, const Var<T>& gates, int x, int weight_input, int bias) const {
    if (c.wants(x)) c.add(x, reshape(matmul(gates, c.input(weight_input)), c.shape(x)));
    if (c.wants(weight_input))
      c.add(weight_input, matmul(gates, reshape(c.input(x), Shape{l_.rows(), l_.inputs}), {.transpose_a = true}));
    if (c.wants(bias)) c.add(bias, sum(gates, {0}));
  }

  RecurrentLayout l_;
  std::optional<Indices> lengths_;
  StepBuffer<T> gates_, hidden_;

 private:
  // Multiplications of a step that make a chunk for a thread.
  static constexpr Int chunk_work = 1 << 19;

  template <class Product, class Context>
  Product hidden_product(Context& c, int weight_hidden) const {
    const Scratch<T> arranged(static_cast<std::size_t>(l_.width * l_.hidden));
    arrange_gates(l_, c.input(weight_hidden).data, l_.hidden, arranged.data());
    return Product(l_, arranged.data());
  }

  PooledVector<std::uint8_t> active_;
};

}  // namespace tapestry::detail
