#pragma once

#include <memory>
#include <string_view>

#include <tapestry/autodiff/kernels/recurrent.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/recurrent.hpp>
#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/storage.hpp>

namespace tapestry::detail {

/// The extents of a recurrent layer, and how its gates lie in memory: units in blocks of recurrent_block (the last one
/// filled up), the gates of a block side by side, so that one panel of the weights gives all that a block needs.
struct RecurrentLayout {
  std::int64_t gates = 0, steps = 0, batch = 0, inputs = 0, hidden = 0;
  bool reverse = false;
  std::int64_t blocks = 0, padded = 0, width = 0;  // padded = blocks of units, width = all their gates

  std::int64_t rows() const noexcept { return steps * batch; }
  std::int64_t block_width() const noexcept { return gates * recurrent_block; }
  /// The time of the s-th step, and the places in an array of steps + 1 states of those before and after it.
  std::int64_t time(std::int64_t s) const noexcept { return reverse ? steps - 1 - s : s; }
  std::int64_t before(std::int64_t t) const noexcept { return reverse ? t + 1 : t; }
  std::int64_t after(std::int64_t t) const noexcept { return reverse ? t : t + 1; }
  std::int64_t first_state() const noexcept { return reverse ? steps : 0; }
  std::int64_t last_state() const noexcept { return reverse ? 0 : steps; }
};

/// @throws ShapeError naming the operation
RecurrentLayout recurrent_layout(std::string_view name, std::int64_t gates, const Shape& x, const Shape& hidden,
                                 const Shape& weight_input, const Shape& weight_hidden, bool reverse);
/// @throws ShapeError unless there is a length for each sequence
void check_lengths_shape(std::string_view name, const std::optional<Indices>& lengths, std::int64_t batch);
/// 1 for [step, sequence] within a sequence; nothing where there are no lengths. @throws IndexError
PooledVector<std::uint8_t> active_steps(std::string_view name, const RecurrentLayout& layout,
                                        const std::optional<Indices>& lengths);
/// For rules in operations: the mask [batch, 1] of a step; no variable where there are no lengths.
template <class T>
Var<T> step_mask(const RecurrentLayout& layout, const std::optional<Indices>& lengths, std::int64_t t);

/// Calls f(row in our order, row of the weight, rows).
template <class F>
void for_each_gate_run(const RecurrentLayout& l, F f) {
  for (std::int64_t block = 0; block < l.blocks; ++block)
    for (std::int64_t gate = 0; gate < l.gates; ++gate) {
      const std::int64_t unit = block * recurrent_block;
      f((block * l.gates + gate) * recurrent_block, gate * l.hidden + unit,
        l.hidden - unit < recurrent_block ? l.hidden - unit : recurrent_block);
    }
}
/// Rows of a weight [gates * hidden, columns] in our order, zeros in between.
template <class T>
void arrange_gates(const RecurrentLayout& l, const T* weight, std::int64_t columns, T* arranged);
/// The transpose of arrange_gates().
template <class T>
void restore_gates(const RecurrentLayout& l, const T* arranged, std::int64_t columns, T* weight, bool accumulate);

/// The hidden weights, packed for h W' by blocks of units.
template <class T>
class HiddenProduct {
 public:
  /// `arranged` as arrange_gates() gives it.
  HiddenProduct(const RecurrentLayout& layout, const T* arranged);
  /// out[b * stride + j] (+)= row b of h times the weights of gate j of the block.
  void operator()(std::int64_t block, const T* h, T* out, const std::int64_t* to, bool accumulate) const;

 private:
  RecurrentLayout l_;
  Scratch<T> packed_;
  PooledVector<std::int64_t> rows_, depth_;
};

/// The same for dz W, by groups of units.
template <class T>
class HiddenProductBackward {
 public:
  /// Units of a group: whole panels, whole blocks.
  static constexpr std::int64_t group = 64;
  HiddenProductBackward(const RecurrentLayout& layout, const T* arranged);
  /// Adds the gradient of the units of a group, from that of all gates, to [batch, padded].
  void operator()(std::int64_t group_index, const T* gate_gradient, T* hidden_gradient) const;

 private:
  RecurrentLayout l_;
  std::int64_t packed_group_;
  Scratch<T> packed_;
  PooledVector<std::int64_t> rows_, depth_, to_;
};

/// Gradients of the weights and inputs from those of the gates of all steps.
template <class T>
void input_gradients(Backward<T>& c, const RecurrentLayout& l, const T* gate_gradient, int x, int weight_input,
                     int bias);
template <class T>
void hidden_weight_gradient(Backward<T>& c, const RecurrentLayout& l, const T* gate_gradient, const T* states,
                            int weight_hidden);
template <class T>
void bias_gradient(Backward<T>& c, const RecurrentLayout& l, const T* gate_gradient, int bias);

/// A gradient of states [batch, hidden] to or from an array of rows of `padded`.
template <class T>
void copy_states(const RecurrentLayout& l, const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride,
                 bool accumulate);

/// Adds the gradient [batch, hidden] of a step's outputs to that of its states, for units in [first, last) of the rows
/// that are active.
template <class T>
void add_output_gradient(const RecurrentLayout& l, const std::uint8_t* active, const T* gradient, std::int64_t first,
                         std::int64_t last, T* states);

/// 0, step, 2 step, ...
inline PooledVector<std::int64_t> multiples(std::int64_t n, std::int64_t step) {
  PooledVector<std::int64_t> out(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) out[static_cast<std::size_t>(i)] = i * step;
  return out;
}

template <class T>
using StepBuffer = std::unique_ptr<Scratch<T>>;
/// Room for n elements, kept from one forward evaluation to the next.
template <class T>
T* room(StepBuffer<T>& buffer, std::int64_t n) {
  if (!buffer) buffer = std::make_unique<Scratch<T>>(static_cast<std::size_t>(n));
  return buffer->data();
}

}  // namespace tapestry::detail
