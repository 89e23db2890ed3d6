#pragma once

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/math.hpp>

// The loops around elementwise functions. A function is a struct: its `id` in the table, `width` (how many vectors are
// evaluated interleaved), value(x) and derivative(x, y) on Packs. For kernel files only.
namespace tapestry::detail::TAPESTRY_ARCH {

/// Calls body(i, m, U): first on U whole vectors at a time, then on single ones of which m elements count.
template <class T, int U>
struct Width {
  static constexpr int value = U;
};
template <class T, int U, class Body>
TAPESTRY_INLINE void for_packs(std::size_t n, Body body) {
  constexpr std::size_t step = lanes<T> * U;
  std::size_t i = 0;
  if constexpr (U > 1)
    for (; i + step <= n; i += step) body(i, step, Width<T, U>{});
  for (; i < n; i += lanes<T>) body(i, n - i < lanes<T> ? n - i : lanes<T>, Width<T, 1>{});
}

template <class T, int U>
TAPESTRY_INLINE Pack<T, U> load_some(const T* p, std::size_t m) {
  if constexpr (U > 1) {
    return load_pack<T, U>(p);
  } else {
    return {{load_partial<T>(p, m, T(1))}};
  }
}
template <class T, int U>
TAPESTRY_INLINE void store_some(T* p, const Pack<T, U>& x, std::size_t m) {
  if constexpr (U > 1)
    store_pack<T, U>(p, x);
  else
    store_partial<T>(p, x.v[0], m);
}
template <class T, int U>
TAPESTRY_INLINE Pack<T, U> load_strided(const T* p, std::size_t i, std::size_t stride, std::size_t m) {
  return stride == 0 ? splat_pack<T, U>(*p) : load_some<T, U>(p + i, m);
}
/// out (+)= g * d, zero where g is.
template <class T, int U>
TAPESTRY_INLINE void store_gradient(const Pack<T, U>& g, const Pack<T, U>& d, T* out, std::size_t m, bool accumulate) {
  Pack<T, U> r = select(g == T(0), T(0), g * d);
  if (accumulate) r = r + load_some<T, U>(out, m);
  store_some<T, U>(out, r, m);
}

template <class T>
TAPESTRY_INLINE void no_gradient(T* out, std::size_t n, bool accumulate) {
  if (!accumulate)
    for (std::size_t i = 0; i < n; ++i) out[i] = T(0);
}

template <class T, class F>
void unary_loop(const T* x, T* y, std::size_t n) {
  for_packs<T, F::width>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    store_some<T, U>(y + i, F::value(load_some<T, U>(x + i, m)), m);
  });
}
template <class T, class F>
void unary_backward_loop(const T* g, const T* x, const T* y, T* out, std::size_t n, bool accumulate) {
  if constexpr (zero_derivative(F::id))
    no_gradient<T>(out, n, accumulate);
  else
    for_packs<T, F::width>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
      constexpr int U = decltype(width)::value;
      Pack<T, U> px{}, py{};
      if constexpr (backward_reads_input(F::id)) px = load_some<T, U>(x + i, m);
      if constexpr (backward_reads_output(F::id)) py = load_some<T, U>(y + i, m);
      store_gradient<T, U>(load_some<T, U>(g + i, m), F::derivative(px, py), out + i, m, accumulate);
    });
}

template <class T, class F>
void parametric_loop(const T* x, T p, T q, T* y, std::size_t n) {
  for_packs<T, F::width>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    store_some<T, U>(y + i, F::value(load_some<T, U>(x + i, m), p, q), m);
  });
}
template <class T, class F>
void parametric_backward_loop(const T* g, const T* x, T p, T q, T* out, std::size_t n, bool accumulate) {
  for_packs<T, F::width>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const Pack<T, U> d = F::derivative(load_some<T, U>(x + i, m), p, q);
    store_gradient<T, U>(load_some<T, U>(g + i, m), d, out + i, m, accumulate);
  });
}

template <class T, class F>
void binary_loop(const T* a, std::size_t stride_a, const T* b, std::size_t stride_b, T* y, std::size_t n) {
  for_packs<T, F::width>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
    constexpr int U = decltype(width)::value;
    const Pack<T, U> pa = load_strided<T, U>(a, i, stride_a, m), pb = load_strided<T, U>(b, i, stride_b, m);
    store_some<T, U>(y + i, F::value(pa, pb), m);
  });
}
template <class T, class F, bool to_a>
void binary_backward_loop(const T* g, const T* a, std::size_t stride_a, const T* b, std::size_t stride_b, const T* y,
                          T* out, std::size_t n, bool accumulate) {
  if constexpr (zero_derivative(F::id))
    no_gradient<T>(out, n, accumulate);
  else
    for_packs<T, F::width>(n, [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE {
      constexpr int U = decltype(width)::value;
      Pack<T, U> pa{}, pb{}, py{};
      if constexpr (backward_reads_inputs(F::id)) {
        pa = load_strided<T, U>(a, i, stride_a, m);
        pb = load_strided<T, U>(b, i, stride_b, m);
      }
      if constexpr (backward_reads_output(F::id)) py = load_some<T, U>(y + i, m);
      const Pack<T, U> pg = load_some<T, U>(g + i, m);
      if constexpr (to_a)
        store_gradient<T, U>(pg, F::derivative_a(pa, pb, py), out + i, m, accumulate);
      else
        store_gradient<T, U>(pg, F::derivative_b(pa, pb, py), out + i, m, accumulate);
    });
}

template <class T, class... F>
void enter_unary(ElementwiseKernels<T>& t) {
  ((t.unary[int(F::id)] = unary_loop<T, F>, t.unary_backward[int(F::id)] = unary_backward_loop<T, F>), ...);
}
template <class T, class... F>
void enter_parametric(ElementwiseKernels<T>& t) {
  ((t.parametric[int(F::id)] = parametric_loop<T, F>,
    t.parametric_backward[int(F::id)] = parametric_backward_loop<T, F>),
   ...);
}
template <class T, class... F>
void enter_binary(ElementwiseKernels<T>& t) {
  ((t.binary[int(F::id)] = binary_loop<T, F>, t.binary_backward_a[int(F::id)] = binary_backward_loop<T, F, true>,
    t.binary_backward_b[int(F::id)] = binary_backward_loop<T, F, false>),
   ...);
}

// Each enters its functions, from a file of its own.
template <class T>
void enter_arithmetic(ElementwiseKernels<T>& t);
template <class T>
void enter_binary_arithmetic(ElementwiseKernels<T>& t);
template <class T>
void enter_exponential(ElementwiseKernels<T>& t);
template <class T>
void enter_activations(ElementwiseKernels<T>& t);
template <class T>
void enter_trigonometric(ElementwiseKernels<T>& t);
template <class T>
void enter_special(ElementwiseKernels<T>& t);
template <class T>
void enter_binary_special(ElementwiseKernels<T>& t);

}  // namespace tapestry::detail::TAPESTRY_ARCH
