#include <tapestry/autodiff/kernels/recurrent.hpp>

#include <tapestry/autodiff/kernels/math.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

using Int = std::int64_t;
constexpr Int block = recurrent_block;

template <class T>
constexpr Int width = Int(lanes<T>);

template <class T>
void clear(T* p, Int n) {
  for (Int i = 0; i < n; ++i) p[i] = T(0);
}
template <class T>
void copy(const T* from, T* to, Int n) {
  for (Int i = 0; i < n; ++i) to[i] = from[i];
}

// What exists of the vector at unit u.
template <class T>
TAPESTRY_INLINE std::size_t existing(Int units, Int u) {
  const Int left = units - u;
  return static_cast<std::size_t>(left < 0 ? 0 : left < width<T> ? left : width<T>);
}

template <class T>
void lstm(const LstmStep<T>& s) {
  for (Int r = 0; r < s.rows; ++r) {
    T* gates = s.gates + r * s.gate_stride;
    const T* cell_before = s.cell_before + r * s.cell_stride;
    T* cell = s.cell + r * s.cell_stride;
    T* cell_tanh = s.cell_tanh + r * s.cell_stride;
    T* hidden = s.hidden + r * s.hidden_stride;
    T* output = s.output + r * s.hidden_stride;
    if (s.active != nullptr && s.active[r] == 0) {
      clear(gates, 4 * block);
      copy(cell_before, cell, block);
      clear(cell_tanh, block);
      copy(s.hidden_before + r * s.hidden_stride, hidden, s.units);
      clear(output, s.units);
      continue;
    }
    for (Int u = 0; u < block; u += width<T>) {
      const auto sum = [&](Int gate) { return load<T>(gates + gate * block + u) + load<T>(s.bias + gate * block + u); };
      const Pack<T, 3> open = vsigmoid(Pack<T, 3>{{sum(0), sum(1), sum(3)}});
      const Vec<T> candidate = vtanh(sum(2));
      const Vec<T> c = open.v[1] * load<T>(cell_before + u) + open.v[0] * candidate;
      const Vec<T> c_tanh = vtanh(c);
      const Vec<T> h = open.v[2] * c_tanh;
      store<T>(gates + u, open.v[0]);
      store<T>(gates + block + u, open.v[1]);
      store<T>(gates + 2 * block + u, candidate);
      store<T>(gates + 3 * block + u, open.v[2]);
      store<T>(cell + u, c);
      store<T>(cell_tanh + u, c_tanh);
      store_partial<T>(hidden + u, h, existing<T>(s.units, u));
      store_partial<T>(output + u, h, existing<T>(s.units, u));
    }
  }
}

template <class T>
void lstm_backward(const LstmStepBackward<T>& s) {
  for (Int r = 0; r < s.rows; ++r) {
    const T* gates = s.gates + r * s.gate_stride;
    T* gate_gradient = s.gate_gradient + r * s.gate_stride;
    if (s.active != nullptr && s.active[r] == 0) {
      clear(gate_gradient, 4 * block);
      continue;
    }
    for (Int u = 0; u < block; u += width<T>) {
      const Int at = r * s.cell_stride + u;
      const Vec<T> i = load<T>(gates + u), f = load<T>(gates + block + u), g = load<T>(gates + 2 * block + u),
                   o = load<T>(gates + 3 * block + u), t = load<T>(s.cell_tanh + at);
      const Vec<T> dh = load<T>(s.hidden_gradient + at);
      const Vec<T> dc = load<T>(s.cell_gradient + at) + dh * o * (1 - t * t);
      store<T>(gate_gradient + u, dc * g * i * (1 - i));
      store<T>(gate_gradient + block + u, dc * load<T>(s.cell_before + at) * f * (1 - f));
      store<T>(gate_gradient + 2 * block + u, dc * i * (1 - g * g));
      store<T>(gate_gradient + 3 * block + u, dh * t * o * (1 - o));
      store<T>(s.cell_gradient + at, dc * f);
      store<T>(s.hidden_gradient + at, Vec<T>{});
    }
  }
}

template <class T>
void gru(const GruStep<T>& s) {
  for (Int r = 0; r < s.rows; ++r) {
    T* gates = s.gates + r * s.gate_stride;
    const T* recurrent = s.recurrent + r * 3 * block;
    const T* before = s.hidden_before + r * s.hidden_stride;
    T* kept = s.recurrent_candidate + r * s.state_stride;
    T* hidden = s.hidden + r * s.hidden_stride;
    T* output = s.output + r * s.hidden_stride;
    if (s.active != nullptr && s.active[r] == 0) {
      clear(gates, 3 * block);
      clear(kept, block);
      copy(before, hidden, s.units);
      clear(output, s.units);
      continue;
    }
    for (Int u = 0; u < block; u += width<T>) {
      const auto sum = [&](Int gate) {
        return load<T>(gates + gate * block + u) + load<T>(recurrent + gate * block + u) +
               load<T>(s.bias + gate * block + u);
      };
      const Pack<T, 2> open = vsigmoid(Pack<T, 2>{{sum(0), sum(1)}});
      const Vec<T> q = load<T>(recurrent + 2 * block + u) + load<T>(s.bias + 3 * block + u);
      const Vec<T> n = vtanh(load<T>(gates + 2 * block + u) + load<T>(s.bias + 2 * block + u) + open.v[0] * q);
      const std::size_t count = existing<T>(s.units, u);
      const Vec<T> h = n + open.v[1] * (load_partial<T>(before + u, count) - n);
      store<T>(gates + u, open.v[0]);
      store<T>(gates + block + u, open.v[1]);
      store<T>(gates + 2 * block + u, n);
      store<T>(kept + u, q);
      store_partial<T>(hidden + u, h, count);
      store_partial<T>(output + u, h, count);
    }
  }
}

template <class T>
void gru_backward(const GruStepBackward<T>& s) {
  for (Int r = 0; r < s.rows; ++r) {
    const T* gates = s.gates + r * s.gate_stride;
    T* input_gradient = s.input_gradient + r * s.gate_stride;
    T* recurrent_gradient = s.recurrent_gradient + r * s.gate_stride;
    if (s.active != nullptr && s.active[r] == 0) {
      clear(input_gradient, 3 * block);
      clear(recurrent_gradient, 3 * block);
      continue;
    }
    for (Int u = 0; u < block; u += width<T>) {
      const Int at = r * s.state_stride + u;
      const Vec<T> reset = load<T>(gates + u), update = load<T>(gates + block + u), n = load<T>(gates + 2 * block + u);
      const Vec<T> before = load_partial<T>(s.hidden_before + r * s.hidden_stride + u, existing<T>(s.units, u));
      const Vec<T> dh = load<T>(s.hidden_gradient + at);
      const Vec<T> dn = dh * (1 - update) * (1 - n * n);
      const Vec<T> dr = dn * load<T>(s.recurrent_candidate + at) * reset * (1 - reset);
      const Vec<T> du = dh * (before - n) * update * (1 - update);
      store<T>(input_gradient + u, dr);
      store<T>(input_gradient + block + u, du);
      store<T>(input_gradient + 2 * block + u, dn);
      store<T>(recurrent_gradient + u, dr);
      store<T>(recurrent_gradient + block + u, du);
      store<T>(recurrent_gradient + 2 * block + u, dn * reset);
      store<T>(s.hidden_gradient + at, dh * update);
    }
  }
}

template <class T>
constexpr RecurrentKernels<T> table{lstm<T>, lstm_backward<T>, gru<T>, gru_backward<T>};

}  // namespace

template <>
const RecurrentKernels<float>& kernels() {
  return table<float>;
}
template <>
const RecurrentKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
