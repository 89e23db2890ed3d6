#include <tapestry/autodiff/ops/affine.hpp>

#include <algorithm>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/storage.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;

// Elements that a thread takes at once, and those that stay in the nearest cache between two passes.
constexpr Int chunk_elements = 65536;
constexpr Int block_elements = 2048;

Int rows_of(Int elements, Int columns) {
  return std::max<Int>(1, elements / std::max<Int>(1, columns));
}

/// Calls f(begin, end) for blocks of rows within [begin, end).
template <class F>
void for_blocks(Int begin, Int end, Int columns, F f) {
  const Int step = rows_of(block_elements, columns);
  for (; begin < end; begin += step) f(begin, std::min(begin + step, end));
}

template <class T>
const ElementwiseKernels<T>& table() {
  return kernels<ElementwiseKernels<T>>();
}

int kernel(Activation activation) {
  return static_cast<int>(activation == Activation::relu       ? Unary::relu
                          : activation == Activation::sigmoid  ? Unary::sigmoid
                          : activation == Activation::softplus ? Unary::softplus
                                                               : Unary::tanh);
}

// gz = g f'(z), from y = f(z).
template <class T>
void through_activation(Activation activation, const T* g, const T* y, T* gz, std::size_t n) {
  const auto& t = table<T>();
  if (activation != Activation::softplus) return t.unary_backward[kernel(activation)](g, nullptr, y, gz, n, false);
  t.unary[static_cast<int>(Unary::negative)](y, gz, n);
  t.unary[static_cast<int>(Unary::expm1)](gz, gz, n);
  t.unary[static_cast<int>(Unary::negative)](gz, gz, n);
  t.binary[static_cast<int>(Binary::multiply)](g, 1, gz, 1, gz, n);
}

}  // namespace

template <class T>
void add_bias_and_activate(Activation activation, Int rows, Int out, const T* bias, T* y) {
  if (bias == nullptr && activation == Activation::none) return;
  const auto add = table<T>().binary[static_cast<int>(Binary::add)];
  const auto n = static_cast<std::size_t>(out);
  parallel_for(rows, rows_of(chunk_elements, out), [&](Int begin, Int end) {
    for_blocks(begin, end, out, [&](Int first, Int last) {
      if (bias != nullptr)
        for (Int i = first; i < last; ++i) add(y + i * out, 1, bias, 1, y + i * out, n);
      T* block = y + first * out;
      if (activation != Activation::none)
        table<T>().unary[kernel(activation)](block, block, static_cast<std::size_t>((last - first) * out));
    });
  });
}

// In one pass, by chunks whose sums are added in their order.
template <class T>
void before_activation(Activation activation, Int rows, Int out, const T* g, const T* y, T* gz, T* bias) {
  const bool inner = activation != Activation::none;
  if (!inner && bias == nullptr) return;
  const Int grain = rows_of(chunk_elements, out), chunks = (rows + grain - 1) / grain;
  const auto n = static_cast<std::size_t>(out);
  const Scratch<T> sums(bias != nullptr ? n * static_cast<std::size_t>(chunks) : 0);
  parallel_for(rows, grain, [&](Int begin, Int end, Int chunk) {
    T* sum = sums.data() + chunk * out;
    if (bias != nullptr) std::fill_n(sum, out, T(0));
    for_blocks(begin, end, out, [&](Int first, Int last) {
      const T* from = g + first * out;
      if (inner) {
        through_activation(activation, from, y + first * out, gz + first * out,
                           static_cast<std::size_t>((last - first) * out));
        from = gz + first * out;
      }
      if (bias != nullptr)
        for (Int i = first; i < last; ++i, from += out) table<T>().accumulate(from, sum, n);
    });
  });
  if (bias == nullptr) return;
  for (Int chunk = 0; chunk < chunks; ++chunk) table<T>().accumulate(sums.data() + chunk * out, bias, n);
}

template void add_bias_and_activate(Activation, Int, Int, const float*, float*);
template void add_bias_and_activate(Activation, Int, Int, const double*, double*);
template void before_activation(Activation, Int, Int, const float*, const float*, float*, float*);
template void before_activation(Activation, Int, Int, const double*, const double*, double*, double*);

}  // namespace tapestry::detail
