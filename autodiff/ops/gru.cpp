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

enum Input : int { x_input, hidden_input, weight_input, weight_hidden, bias_of_input, bias_of_hidden };

template <class T>
class Gru final : public RecurrentOperation<T> {
  using Base = RecurrentOperation<T>;
  using Base::active, Base::gates_, Base::hidden_, Base::l_, Base::lengths_, Base::padded_state, Base::state,
      Base::step;

 public:
  using Base::Base;
  std::string_view name() const override { return "gru"; }
  int outputs() const override { return 2; }
  bool suits(const detail::Shapes& in) override {
    if (in.size() != 6) return false;
    this->set_layout(3, in[x_input], in[hidden_input], in[weight_input], in[weight_hidden]);
    return in[bias_of_input] == Shape{3 * l_.hidden} && in[bias_of_hidden] == in[bias_of_input];
  }

  void forward(Forward<T>& c) override {
    this->start(c, x_input, hidden_input, weight_input);
    T *gates = gates_->data(), *hidden = hidden_->data(), *candidate = room(candidate_, l_.steps * padded_state());
    const Scratch<T> bias(static_cast<std::size_t>(l_.blocks * 4 * block));
    arrange_bias(c.input(bias_of_input).data, c.input(bias_of_hidden).data, bias.data());
    const PooledVector<Int> to = multiples(l_.batch, l_.block_width());
    this->forward_in_time(c, weight_hidden, [&](const HiddenProduct<T>& product, Int t, Int i) {
      const Int unit = i * block;
      const Scratch<T> recurrent(static_cast<std::size_t>(l_.batch * l_.block_width()));
      const T* before = hidden + l_.before(t) * state();
      product(i, before, recurrent.data(), to.data(), false);
      kernels<RecurrentKernels<T>>().gru({l_.batch, std::min(block, l_.hidden - unit), active(t), l_.width, l_.padded,
                                          l_.hidden, gates + t * step() + unit * 3, recurrent.data(),
                                          bias.data() + unit * 4, candidate + t * padded_state() + unit, before + unit,
                                          hidden + l_.after(t) * state() + unit,
                                          c.output(0).data + t * state() + unit});
    });
    std::copy_n(hidden + l_.last_state() * state(), state(), c.output(1).data);
  }

  void backward(Backward<T>& c) override {
    const Scratch<T> input_gradient(static_cast<std::size_t>(l_.steps * step())),
        hidden_part(static_cast<std::size_t>(l_.steps * step())), dh(static_cast<std::size_t>(padded_state()));
    this->load_gradient(c, 1, dh.data());
    this->backward_in_time(c, weight_hidden, hidden_part.data(), dh.data(), [&](Int t, Int unit) {
      kernels<RecurrentKernels<T>>().gru_backward(
          {l_.batch, std::min(block, l_.hidden - unit), active(t), l_.width, l_.padded, l_.hidden,
           gates_->data() + t * step() + unit * 3, candidate_->data() + t * padded_state() + unit,
           hidden_->data() + l_.before(t) * state() + unit, dh.data() + unit,
           input_gradient.data() + t * step() + unit * 3, hidden_part.data() + t * step() + unit * 3});
    });
    this->store_gradient(c, hidden_input, dh.data());
    input_gradients(c, l_, input_gradient.data(), x_input, weight_input, bias_of_input);
    hidden_weight_gradient(c, l_, hidden_part.data(), hidden_->data(), weight_hidden);
    if (c.wants(bias_of_hidden)) bias_gradient(c, l_, hidden_part.data(), bias_of_hidden);
  }

  // Step by step: forward again, then backward through time.
  void vjp(Vjp<T>& c) override {
    const auto steps = static_cast<std::size_t>(l_.steps);
    const Var<T> x = c.input(x_input), w = c.input(weight_input), u = c.input(weight_hidden);
    std::vector<Var<T>> r(steps), z(steps), n(steps), q(steps), mask(steps), before(steps);
    Var<T> h = c.input(hidden_input);
    for (Int s = 0; s < l_.steps; ++s) {
      const auto t = static_cast<std::size_t>(l_.time(s));
      mask[t] = step_mask<T>(l_, lengths_, l_.time(s));
      const std::vector<Var<T>> of_x =
          chunk(matmul(select(x, 0, l_.time(s)), w, {.transpose_b = true}) + c.input(bias_of_input), 3, 1);
      const std::vector<Var<T>> of_h = chunk(matmul(h, u, {.transpose_b = true}) + c.input(bias_of_hidden), 3, 1);
      r[t] = sigmoid(of_x[0] + of_h[0]);
      z[t] = sigmoid(of_x[1] + of_h[1]);
      q[t] = of_h[2];
      n[t] = tanh(of_x[2] + r[t] * q[t]);
      before[t] = h;
      const Var<T> next = n[t] + z[t] * (h - n[t]);
      h = mask[t].defined() ? mask[t] * next + (T(1) - mask[t]) * h : next;
    }
    Var<T> dh = c.gradient(1), du = Var<T>::zeros(c.shape(weight_hidden));
    const Var<T> outer = c.gradient(0);
    std::vector<Var<T>> of_x(steps), of_h(steps);
    for (Int s = l_.steps - 1; s >= 0; --s) {
      const auto t = static_cast<std::size_t>(l_.time(s));
      const Var<T>& m = mask[t];
      const Var<T> both = dh + select(outer, 0, l_.time(s));
      const Var<T> inner = m.defined() ? m * both : both;
      const Var<T> dn = inner * (T(1) - z[t]) * (T(1) - square(n[t]));
      const Var<T> dr = dn * q[t] * r[t] * (T(1) - r[t]);
      const Var<T> dz = inner * (before[t] - n[t]) * z[t] * (T(1) - z[t]);
      of_x[t] = concatenate({dr, dz, dn}, 1);
      of_h[t] = concatenate({dr, dz, dn * r[t]}, 1);
      const Var<T> old = inner * z[t] + matmul(of_h[t], u);
      dh = m.defined() ? old + (T(1) - m) * dh : old;
      if (c.wants(weight_hidden)) du = du + matmul(of_h[t], before[t], {.transpose_a = true});
    }
    if (c.wants(hidden_input)) c.add(hidden_input, dh);
    if (l_.steps == 0) return;
    const Var<T> all = reshape(stack(of_x), Shape{l_.rows(), 3 * l_.hidden});
    if (c.wants(weight_hidden)) c.add(weight_hidden, du);
    this->input_rules(c, all, x_input, weight_input, bias_of_input);
    if (c.wants(bias_of_hidden)) c.add(bias_of_hidden, sum(stack(of_h), {0, 1}));
  }

 private:
  // By blocks: reset, update, and the two parts of the candidate, which the reset gate keeps apart.
  void arrange_bias(const T* of_input, const T* of_hidden, T* bias) const {
    std::fill_n(bias, l_.blocks * 4 * block, T(0));
    for (Int unit = 0; unit < l_.hidden; ++unit) {
      T* out = bias + unit / block * 4 * block + unit % block;
      for (Int gate = 0; gate < 2; ++gate)
        out[gate * block] = of_input[gate * l_.hidden + unit] + of_hidden[gate * l_.hidden + unit];
      out[2 * block] = of_input[2 * l_.hidden + unit];
      out[3 * block] = of_hidden[2 * l_.hidden + unit];
    }
  }

  StepBuffer<T> candidate_;
};

}  // namespace

void detail::register_gru() {
  register_operations<Gru>("gru");
}

template <class T>
GruResult<T> gru(const Var<T>& x, const Var<T>& hidden, const Var<T>& weight_x, const Var<T>& weight_h,
                 const Var<T>& bias_x, const Var<T>& bias_h, const RecurrentOptions& options) {
  const RecurrentLayout l =
      recurrent_layout("gru", 3, x.shape(), hidden.shape(), weight_x.shape(), weight_h.shape(), options.reverse);
  for (const Shape& bias : {bias_x.shape(), bias_h.shape()})
    if (bias != Shape{3 * l.hidden}) fail<ShapeError>("gru", "a bias ", bias, " should be ", Shape{3 * l.hidden});
  check_lengths_shape("gru", options.lengths, l.batch);
  const std::array<Var<T>, 6> inputs{x, hidden, weight_x, weight_h, bias_x, bias_h};
  const std::vector<Var<T>> out = apply_all<T>(std::make_unique<Gru<T>>(l, options.lengths), inputs);
  return {out[0], out[1]};
}

#define TAPESTRY_INSTANTIATE(T)                                                                                       \
  template GruResult<T> gru(const Var<T>&, const Var<T>&, const Var<T>&, const Var<T>&, const Var<T>&, const Var<T>&, \
                            const RecurrentOptions&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
