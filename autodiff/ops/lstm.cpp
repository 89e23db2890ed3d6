#include <algorithm>
#include <array>

#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/recurrent_operation.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>

namespace tapestry {
namespace {

using namespace detail;
using Int = std::int64_t;
constexpr Int block = recurrent_block;

enum Input : int { x_input, hidden_input, cell_input, weight_input, weight_hidden, bias_input };

template <class T>
class Lstm final : public RecurrentOperation<T> {
  using Base = RecurrentOperation<T>;
  using Base::active, Base::gates_, Base::hidden_, Base::l_, Base::lengths_, Base::padded_state, Base::state,
      Base::step;

 public:
  using Base::Base;
  std::string_view name() const override { return "lstm"; }
  int outputs() const override { return 3; }
  bool suits(const detail::Shapes& in) override {
    if (in.size() != 6) return false;
    this->set_layout(4, in[x_input], in[hidden_input], in[weight_input], in[weight_hidden]);
    return in[cell_input] == in[hidden_input] && in[bias_input] == Shape{4 * l_.hidden};
  }

  void forward(Forward<T>& c) override {
    this->start(c, x_input, hidden_input, weight_input);
    T *gates = gates_->data(), *hidden = hidden_->data();
    T* cell = room(cell_, (l_.steps + 1) * padded_state());
    T* cell_tanh = room(cell_tanh_, l_.steps * padded_state());
    T* first_cell = cell + l_.first_state() * padded_state();
    std::fill_n(first_cell, padded_state(), T(0));
    copy_states(l_, c.input(cell_input).data, l_.hidden, first_cell, l_.padded, false);
    const Scratch<T> bias(static_cast<std::size_t>(l_.width));
    arrange_gates(l_, c.input(bias_input).data, 1, bias.data());
    const PooledVector<Int> to = multiples(l_.batch, l_.width);
    this->forward_in_time(c, weight_hidden, [&](const HiddenProduct<T>& product, Int t, Int i) {
      const Int unit = i * block;
      T* z = gates + t * step() + i * 4 * block;
      const T* before = hidden + l_.before(t) * state();
      product(i, before, z, to.data(), true);
      kernels<RecurrentKernels<T>>().lstm(
          {l_.batch, std::min(block, l_.hidden - unit), active(t), l_.width, l_.padded, l_.hidden, z,
           bias.data() + i * 4 * block, cell + l_.before(t) * padded_state() + unit,
           cell + l_.after(t) * padded_state() + unit, cell_tanh + t * padded_state() + unit, before + unit,
           hidden + l_.after(t) * state() + unit, c.output(0).data + t * state() + unit});
    });
    std::copy_n(hidden + l_.last_state() * state(), state(), c.output(1).data);
    copy_states(l_, cell + l_.last_state() * padded_state(), l_.padded, c.output(2).data, l_.hidden, false);
  }

  void backward(Backward<T>& c) override {
    const Scratch<T> gate_gradient(static_cast<std::size_t>(l_.steps * step())),
        dh(static_cast<std::size_t>(padded_state())), dc(static_cast<std::size_t>(padded_state()));
    this->load_gradient(c, 1, dh.data());
    this->load_gradient(c, 2, dc.data());
    this->backward_in_time(c, weight_hidden, gate_gradient.data(), dh.data(), [&](Int t, Int unit) {
      kernels<RecurrentKernels<T>>().lstm_backward(
          {l_.batch, active(t), l_.width, l_.padded, gates_->data() + t * step() + unit * 4,
           cell_->data() + l_.before(t) * padded_state() + unit, cell_tanh_->data() + t * padded_state() + unit,
           dh.data() + unit, dc.data() + unit, gate_gradient.data() + t * step() + unit * 4});
    });
    this->store_gradient(c, hidden_input, dh.data());
    this->store_gradient(c, cell_input, dc.data());
    input_gradients(c, l_, gate_gradient.data(), x_input, weight_input, bias_input);
    hidden_weight_gradient(c, l_, gate_gradient.data(), hidden_->data(), weight_hidden);
  }

  // Step by step: forward again, then backward through time.
  void vjp(Vjp<T>& c) override {
    const auto steps = static_cast<std::size_t>(l_.steps);
    const Var<T> x = c.input(x_input), w = c.input(weight_input), u = c.input(weight_hidden);
    std::vector<Var<T>> i(steps), f(steps), g(steps), o(steps), tanh_c(steps), mask(steps), h_before(steps),
        c_before(steps);
    Var<T> h = c.input(hidden_input), cell = c.input(cell_input);
    const auto mixed = [](const Var<T>& m, const Var<T>& value, const Var<T>& old) {
      return m.defined() ? m * value + (T(1) - m) * old : value;
    };
    for (Int s = 0; s < l_.steps; ++s) {
      const auto t = static_cast<std::size_t>(l_.time(s));
      mask[t] = step_mask<T>(l_, lengths_, l_.time(s));
      const Var<T> z = matmul(select(x, 0, l_.time(s)), w, {.transpose_b = true}) +
                       matmul(h, u, {.transpose_b = true}) + c.input(bias_input);
      const std::vector<Var<T>> parts = chunk(z, 4, 1);
      i[t] = sigmoid(parts[0]);
      f[t] = sigmoid(parts[1]);
      g[t] = tanh(parts[2]);
      o[t] = sigmoid(parts[3]);
      h_before[t] = h;
      c_before[t] = cell;
      const Var<T> next = f[t] * cell + i[t] * g[t];
      tanh_c[t] = tanh(next);
      cell = mixed(mask[t], next, cell);
      h = mixed(mask[t], o[t] * tanh_c[t], h);
    }
    Var<T> dh = c.gradient(1), dc = c.gradient(2), du = Var<T>::zeros(c.shape(weight_hidden));
    const Var<T> outer = c.gradient(0);
    std::vector<Var<T>> dz(steps);
    for (Int s = l_.steps - 1; s >= 0; --s) {
      const auto t = static_cast<std::size_t>(l_.time(s));
      const Var<T>& m = mask[t];
      const Var<T> sum_h = dh + select(outer, 0, l_.time(s));
      const Var<T> inner_h = m.defined() ? m * sum_h : sum_h;
      const Var<T> inner_c = (m.defined() ? m * dc : dc) + inner_h * o[t] * (T(1) - square(tanh_c[t]));
      dz[t] = concatenate({inner_c * g[t] * i[t] * (T(1) - i[t]), inner_c * c_before[t] * f[t] * (T(1) - f[t]),
                           inner_c * i[t] * (T(1) - square(g[t])), inner_h * tanh_c[t] * o[t] * (T(1) - o[t])},
                          1);
      const Var<T> to_h = matmul(dz[t], u), to_c = inner_c * f[t];
      dh = m.defined() ? to_h + (T(1) - m) * dh : to_h;
      dc = m.defined() ? to_c + (T(1) - m) * dc : to_c;
      if (c.wants(weight_hidden)) du = du + matmul(dz[t], h_before[t], {.transpose_a = true});
    }
    if (c.wants(hidden_input)) c.add(hidden_input, dh);
    if (c.wants(cell_input)) c.add(cell_input, dc);
    if (l_.steps == 0) return;
    const Var<T> all = reshape(stack(dz), Shape{l_.rows(), 4 * l_.hidden});
    if (c.wants(weight_hidden)) c.add(weight_hidden, du);
    this->input_rules(c, all, x_input, weight_input, bias_input);
  }

 private:
  StepBuffer<T> cell_, cell_tanh_;
};

}  // namespace

void detail::register_lstm() {
  register_operations<Lstm>("lstm");
}

template <class T>
LstmResult<T> lstm(const Var<T>& x, const Var<T>& hidden, const Var<T>& cell, const Var<T>& weight_x,
                   const Var<T>& weight_h, const Var<T>& bias, const RecurrentOptions& options) {
  const RecurrentLayout l =
      recurrent_layout("lstm", 4, x.shape(), hidden.shape(), weight_x.shape(), weight_h.shape(), options.reverse);
  if (cell.shape() != hidden.shape())
    fail<ShapeError>("lstm", "the first cell ", cell.shape(), " and hidden state ", hidden.shape(), " differ");
  if (bias.shape() != Shape{4 * l.hidden})
    fail<ShapeError>("lstm", "the bias ", bias.shape(), " should be ", Shape{4 * l.hidden});
  check_lengths_shape("lstm", options.lengths, l.batch);
  const std::array<Var<T>, 6> inputs{x, hidden, cell, weight_x, weight_h, bias};
  const std::vector<Var<T>> out = apply_all<T>(std::make_unique<Lstm<T>>(l, options.lengths), inputs);
  return {out[0], out[1], out[2]};
}

#define TAPESTRY_INSTANTIATE(T)                                                                          \
  template LstmResult<T> lstm(const Var<T>&, const Var<T>&, const Var<T>&, const Var<T>&, const Var<T>&, \
                              const Var<T>&, const RecurrentOptions&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
