#include <tapestry/autodiff/ops/recurrent_layout.hpp>

#include <algorithm>
#include <numeric>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/reduce.hpp>
#include <tapestry/autodiff/ops/panels.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;

// Weight gradients are computed in our order, and brought into the variable's.
template <class T>
void weight_gradient(Backward<T>& c, const RecurrentLayout& l, const T* gate_gradient, const T* values, Int columns,
                     int input) {
  const Scratch<T> arranged(static_cast<std::size_t>(l.width * columns));
  gemm(true, false, l.width, columns, l.rows(), T(1), gate_gradient, l.width, values, columns, T(0), arranged.data(),
       columns);
  const Target<T> to = c.target(input);
  restore_gates(l, arranged.data(), columns, to.data, to.accumulate);
}

}  // namespace

RecurrentLayout recurrent_layout(std::string_view name, Int gates, const Shape& x, const Shape& hidden,
                                 const Shape& weight_input, const Shape& weight_hidden, bool reverse) {
  if (x.rank() != 3) fail<ShapeError>(name, "x must be [steps, batch, inputs], not ", x);
  if (hidden.rank() != 2 || hidden[0] != x[1] || hidden[1] == 0)
    fail<ShapeError>(name, "the first hidden state must be [batch, hidden], not ", hidden, " where x is ", x);
  RecurrentLayout l;
  l.gates = gates;
  l.steps = x[0];
  l.batch = x[1];
  l.inputs = x[2];
  l.hidden = hidden[1];
  l.reverse = reverse;
  l.blocks = (l.hidden + recurrent_block - 1) / recurrent_block;
  l.padded = l.blocks * recurrent_block;
  l.width = l.padded * gates;
  if (weight_input != Shape{gates * l.hidden, l.inputs})
    fail<ShapeError>(name, "the input weight ", weight_input, " should be ", Shape{gates * l.hidden, l.inputs});
  if (weight_hidden != Shape{gates * l.hidden, l.hidden})
    fail<ShapeError>(name, "the hidden weight ", weight_hidden, " should be ", Shape{gates * l.hidden, l.hidden});
  return l;
}

void check_lengths_shape(std::string_view name, const std::optional<Indices>& lengths, Int batch) {
  if (lengths && lengths->shape() != Shape{batch})
    fail<ShapeError>(name, "lengths of shape ", lengths->shape(), " for a batch of ", batch);
}

PooledVector<std::uint8_t> active_steps(std::string_view name, const RecurrentLayout& l,
                                        const std::optional<Indices>& lengths) {
  if (!lengths) return {};
  PooledVector<std::uint8_t> active(static_cast<std::size_t>(l.rows()));
  for (Int b = 0; b < l.batch; ++b) {
    const Int length = (*lengths)[b];
    if (length < 0 || length > l.steps)
      fail<IndexError>(name, "length ", length, " of sequence ", b, " is not within 0 and ", l.steps);
    for (Int t = 0; t < length; ++t) active[static_cast<std::size_t>(t * l.batch + b)] = 1;
  }
  return active;
}

template <class T>
Var<T> step_mask(const RecurrentLayout& l, const std::optional<Indices>& lengths, Int t) {
  if (!lengths) return {};
  Tensor<T> mask = empty_tensor<T>({l.batch, 1});
  for (Int b = 0; b < l.batch; ++b) mask.data()[b] = t < (*lengths)[b] ? T(1) : T(0);
  return Var<T>(std::move(mask));
}

template <class T>
void arrange_gates(const RecurrentLayout& l, const T* weight, Int columns, T* arranged) {
  if (l.padded != l.hidden) std::fill_n(arranged, l.width * columns, T(0));
  for_each_gate_run(
      l, [&](Int to, Int from, Int n) { std::copy_n(weight + from * columns, n * columns, arranged + to * columns); });
}

template <class T>
void restore_gates(const RecurrentLayout& l, const T* arranged, Int columns, T* weight, bool accumulate) {
  for_each_gate_run(l, [&](Int from, Int to, Int n) {
    if (accumulate)
      kernels<ElementwiseKernels<T>>().accumulate(arranged + from * columns, weight + to * columns,
                                                  static_cast<std::size_t>(n * columns));
    else
      std::copy_n(arranged + from * columns, n * columns, weight + to * columns);
  });
}

template <class T>
HiddenProduct<T>::HiddenProduct(const RecurrentLayout& layout, const T* arranged)
    : l_(layout),
      packed_(static_cast<std::size_t>(l_.blocks * Panels<T>(l_.hidden, l_.block_width()).size())),
      rows_(multiples(l_.batch, l_.hidden)),
      depth_(multiples(l_.hidden, 1)) {
  const Panels<T> panels(l_.hidden, l_.block_width());
  parallel_for(l_.blocks, 4, [&](Int begin, Int end) {
    for (Int block = begin; block < end; ++block)
      panels.pack(arranged + block * l_.block_width() * l_.hidden, 1, l_.hidden,
                  packed_.data() + block * panels.size());
  });
}

template <class T>
void HiddenProduct<T>::operator()(Int block, const T* h, T* out, const Int* to, bool accumulate) const {
  const Panels<T> panels(l_.hidden, l_.block_width());
  panels.for_each(packed_.data() + block * panels.size(), [&](Int first, Int columns, const T* b) {
    panels.product().multiply(h, rows_.data(), l_.batch, depth_.data(), l_.hidden, b, columns, out + first, to,
                              accumulate);
  });
}

template <class T>
HiddenProductBackward<T>::HiddenProductBackward(const RecurrentLayout& layout, const T* arranged)
    : l_(layout),
      packed_group_(Panels<T>(l_.width, group).size()),
      packed_(static_cast<std::size_t>((l_.padded + group - 1) / group * packed_group_)),
      rows_(multiples(l_.batch, l_.width)),
      depth_(multiples(l_.width, 1)),
      to_(multiples(l_.batch, l_.padded)) {
  parallel_for((l_.padded + group - 1) / group, 1, [&](Int begin, Int end) {
    for (Int i = begin; i < end; ++i)
      Panels<T>(l_.width, std::min(group, l_.hidden - i * group))
          .pack(arranged + i * group, l_.hidden, 1, packed_.data() + i * packed_group_);
  });
}

template <class T>
void HiddenProductBackward<T>::operator()(Int i, const T* gate_gradient, T* hidden_gradient) const {
  const Panels<T> panels(l_.width, std::min(group, l_.hidden - i * group));
  panels.for_each(packed_.data() + i * packed_group_, [&](Int first, Int columns, const T* b) {
    panels.product().multiply(gate_gradient, rows_.data(), l_.batch, depth_.data(), l_.width, b, columns,
                              hidden_gradient + i * group + first, to_.data(), true);
  });
}

template <class T>
void input_gradients(Backward<T>& c, const RecurrentLayout& l, const T* gate_gradient, int x, int weight_input,
                     int bias) {
  if (c.wants(x)) {
    const Scratch<T> arranged(static_cast<std::size_t>(l.width * l.inputs));
    arrange_gates(l, c.input(weight_input).data, l.inputs, arranged.data());
    const Target<T> to = c.target(x);
    gemm(false, false, l.rows(), l.inputs, l.width, T(1), gate_gradient, l.width, arranged.data(), l.inputs,
         to.accumulate ? T(1) : T(0), to.data, l.inputs);
  }
  if (c.wants(weight_input)) weight_gradient(c, l, gate_gradient, c.input(x).data, l.inputs, weight_input);
  if (c.wants(bias)) bias_gradient(c, l, gate_gradient, bias);
}

template <class T>
void hidden_weight_gradient(Backward<T>& c, const RecurrentLayout& l, const T* gate_gradient, const T* states,
                            int weight_hidden) {
  if (c.wants(weight_hidden))
    weight_gradient(c, l, gate_gradient, states + l.before(0) * l.batch * l.hidden, l.hidden, weight_hidden);
}

template <class T>
void bias_gradient(Backward<T>& c, const RecurrentLayout& l, const T* gate_gradient, int bias) {
  const Scratch<T> sums(static_cast<std::size_t>(l.width));
  kernels<ReduceKernels<T>>().sum(
      gate_gradient, {1, static_cast<std::size_t>(l.rows()), static_cast<std::size_t>(l.width)}, sums.data(), false);
  const Target<T> to = c.target(bias);
  restore_gates(l, sums.data(), 1, to.data, to.accumulate);
}

template <class T>
void copy_states(const RecurrentLayout& l, const T* from, Int from_stride, T* to, Int to_stride, bool accumulate) {
  for (Int b = 0; b < l.batch; ++b)
    for (Int j = 0; j < l.hidden; ++j)
      to[b * to_stride + j] = from[b * from_stride + j] + (accumulate ? to[b * to_stride + j] : T(0));
}

template <class T>
void add_output_gradient(const RecurrentLayout& l, const std::uint8_t* active, const T* gradient, Int first, Int last,
                         T* states) {
  last = std::min(last, l.hidden);
  for (Int b = 0; b < l.batch; ++b)
    if (active == nullptr || active[b] != 0)
      kernels<ElementwiseKernels<T>>().accumulate(gradient + b * l.hidden + first, states + b * l.padded + first,
                                                  static_cast<std::size_t>(last - first));
}

#define TAPESTRY_INSTANTIATE(T)                                                                           \
  template Var<T> step_mask(const RecurrentLayout&, const std::optional<Indices>&, Int);                  \
  template void arrange_gates(const RecurrentLayout&, const T*, Int, T*);                                 \
  template void restore_gates(const RecurrentLayout&, const T*, Int, T*, bool);                           \
  template class HiddenProduct<T>;                                                                        \
  template class HiddenProductBackward<T>;                                                                \
  template void input_gradients(Backward<T>&, const RecurrentLayout&, const T*, int, int, int);           \
  template void hidden_weight_gradient(Backward<T>&, const RecurrentLayout&, const T*, const T*, int);    \
  template void bias_gradient(Backward<T>&, const RecurrentLayout&, const T*, int);                       \
  template void add_output_gradient(const RecurrentLayout&, const std::uint8_t*, const T*, Int, Int, T*); \
  template void copy_states(const RecurrentLayout&, const T*, Int, T*, Int, bool);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
