#include <tapestry/autodiff/kernels/elementwise.hpp>

#include <tapestry/autodiff/kernels/elementwise_loops.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void select_loop(const T* condition, std::size_t stride_condition, const T* a, std::size_t stride_a, const T* b,
                 std::size_t stride_b, T* y, std::size_t n) {
  for_packs<T, 2>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const Pack<T, U> pc = load_strided<T, U>(condition, i, stride_condition, m);
    const Pack<T, U> pa = load_strided<T, U>(a, i, stride_a, m), pb = load_strided<T, U>(b, i, stride_b, m);
    store_some<T, U>(y + i, select(pc != T(0), pa, pb), m);
  });
}
template <class T>
void select_backward_loop(const T* g, const T* condition, std::size_t stride_condition, bool side, T* out,
                          std::size_t n, bool accumulate) {
  for_packs<T, 2>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const Pack<T, U> pc = load_strided<T, U>(condition, i, stride_condition, m);
    const Pack<T, U> d = select(pc != T(0), like(pc, T(side ? 1 : 0)), T(side ? 0 : 1));
    const Pack<T, U> pg = load_some<T, U>(g + i, m);
    Pack<T, U> r = select(d != T(0), pg, T(0));
    if (accumulate) r = r + load_some<T, U>(out + i, m);
    store_some<T, U>(out + i, r, m);
  });
}

template <class T>
void accumulate_loop(const T* x, T* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] += x[i];
}
template <class T>
void add_scaled_loop(T factor, const T* x, T* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] += factor * x[i];
}
template <class T>
void scale_loop(T factor, const T* x, T* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = factor * x[i];
}
template <class T>
void fill_loop(T value, T* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] = value;
}

/// Blocks of this many vectors are summed in eight accumulators, and the blocks pairwise.
constexpr std::size_t sum_block = 128;

template <class T>
T sum_of_block(const T* x, std::size_t n) {
  constexpr int U = 8;
  Pack<T, U> s{};
  std::size_t i = 0;
  for (; i + lanes<T> * U <= n; i += lanes<T> * U) s = s + load_pack<T, U>(x + i);
  Vec<T> rest{};
  for (; i < n; i += lanes<T>) rest += load_partial<T>(x + i, n - i);
  return horizontal_sum<T>((((s.v[0] + s.v[1]) + (s.v[2] + s.v[3])) + ((s.v[4] + s.v[5]) + (s.v[6] + s.v[7]))) + rest);
}
template <class T>
T pairwise_sum(const T* x, std::size_t n) {
  constexpr std::size_t block = sum_block * lanes<T>;
  if (n <= block) return sum_of_block<T>(x, n);
  const std::size_t half = ((n + block - 1) / block + 1) / 2 * block;
  return pairwise_sum<T>(x, half) + pairwise_sum<T>(x + half, n - half);
}

template <class T>
bool all_finite(const T* x, std::size_t n) {
  // x - x is zero for finite numbers only; the sum keeps any NaN.
  Pack<T, 4> s{};
  std::size_t i = 0;
  for (; i + Pack<T, 4>::size <= n; i += Pack<T, 4>::size) {
    const Pack<T, 4> v = load_pack<T, 4>(x + i);
    s = s + (v - v);
  }
  T rest = horizontal_sum<T>((s.v[0] + s.v[1]) + (s.v[2] + s.v[3]));
  for (; i < n; ++i) rest += x[i] - x[i];
  return rest == T(0);
}

template <class T>
struct Table : ElementwiseKernels<T> {
  Table() : ElementwiseKernels<T>{} {
    enter_arithmetic<T>(*this);
    enter_binary_arithmetic<T>(*this);
    enter_exponential<T>(*this);
    enter_activations<T>(*this);
    enter_trigonometric<T>(*this);
    enter_special<T>(*this);
    enter_binary_special<T>(*this);
    this->select = select_loop<T>;
    this->select_backward = select_backward_loop<T>;
    this->accumulate = accumulate_loop<T>;
    this->add_scaled = add_scaled_loop<T>;
    this->scale = scale_loop<T>;
    this->fill = fill_loop<T>;
    this->sum = pairwise_sum<T>;
    this->all_finite = TAPESTRY_ARCH::all_finite<T>;
  }
};

}  // namespace

template <>
const ElementwiseKernels<float>& kernels() {
  static const Table<float> table;
  return table;
}
template <>
const ElementwiseKernels<double>& kernels() {
  static const Table<double> table;
  return table;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
