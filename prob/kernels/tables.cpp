#include <tapestry/prob/kernels/tables.hpp>

#include <tapestry/autodiff/kernels/math.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

struct Sum {
  static double unit() { return 0; }
  static double apply(double a, double b) { return a + b; }
};
struct Max {
  static double unit() { return -infinity<double>; }
  static double apply(double a, double b) { return a > b ? a : b; }
};

/// All of a contiguous run, by as many lanes as fill the arithmetic units.
template <class Reduce>
double reduce_run(const double* x, std::size_t n) {
  constexpr std::size_t width = 32;
  double lane[width];
  if (n < width) {
    double total = Reduce::unit();
    for (std::size_t i = 0; i < n; ++i) total = Reduce::apply(total, x[i]);
    return total;
  }
  for (std::size_t k = 0; k < width; ++k) lane[k] = x[k];
  std::size_t i = width;
  for (; i + width <= n; i += width)
    for (std::size_t k = 0; k < width; ++k) lane[k] = Reduce::apply(lane[k], x[i + k]);
  for (std::size_t k = 0; i < n; ++i, ++k) lane[k] = Reduce::apply(lane[k], x[i]);
  for (std::size_t w = width / 2; w > 0; w /= 2)
    for (std::size_t k = 0; k < w; ++k) lane[k] = Reduce::apply(lane[k], lane[k + w]);
  return lane[0];
}

// Short inner and middle axes get loops of constant length, which become shuffles instead of branches.
template <class Reduce, std::size_t N, std::size_t Inner>
void reduce_fixed(const double* __restrict x, std::size_t outer, std::size_t n, std::size_t inner,
                  double* __restrict y) {
  const std::size_t count = N ? N : n, width = Inner ? Inner : inner;
  for (std::size_t o = 0; o < outer; ++o, x += count * width, y += width) {
    for (std::size_t i = 0; i < width; ++i) y[i] = x[i];
    for (std::size_t k = 1; k < count; ++k)
      for (std::size_t i = 0; i < width; ++i) y[i] = Reduce::apply(y[i], x[k * width + i]);
  }
}

template <class Reduce>
void reduce(const double* __restrict x, std::size_t outer, std::size_t n, std::size_t inner, double* __restrict y) {
  if (inner == 1) {
    if (n == 2) return reduce_fixed<Reduce, 2, 1>(x, outer, n, inner, y);
    if (n == 3) return reduce_fixed<Reduce, 3, 1>(x, outer, n, inner, y);
    if (n == 4) return reduce_fixed<Reduce, 4, 1>(x, outer, n, inner, y);
    for (std::size_t o = 0; o < outer; ++o) y[o] = reduce_run<Reduce>(x + o * n, n);
    return;
  }
  if (inner == 2)
    return n == 2 ? reduce_fixed<Reduce, 2, 2>(x, outer, n, inner, y)
                  : reduce_fixed<Reduce, 0, 2>(x, outer, n, inner, y);
  if (inner == 4)
    return n == 2 ? reduce_fixed<Reduce, 2, 4>(x, outer, n, inner, y)
                  : reduce_fixed<Reduce, 0, 4>(x, outer, n, inner, y);
  if (inner == 8) return reduce_fixed<Reduce, 0, 8>(x, outer, n, inner, y);
  reduce_fixed<Reduce, 0, 0>(x, outer, n, inner, y);
}

template <std::size_t N, std::size_t Inner>
void assign_fixed(double* __restrict x, std::size_t outer, std::size_t n, std::size_t inner,
                  const double* __restrict m) {
  const std::size_t count = N ? N : n, width = Inner ? Inner : inner;
  for (std::size_t o = 0; o < outer; ++o, m += width)
    for (std::size_t k = 0; k < count; ++k, x += width)
      for (std::size_t i = 0; i < width; ++i) x[i] = m[i];
}

void assign(double* __restrict x, std::size_t outer, std::size_t n, std::size_t inner, const double* __restrict m) {
  if (inner == 1) {
    if (n == 2) return assign_fixed<2, 1>(x, outer, n, inner, m);
    if (n == 4) return assign_fixed<4, 1>(x, outer, n, inner, m);
    return assign_fixed<0, 1>(x, outer, n, inner, m);
  }
  if (inner == 2) return n == 2 ? assign_fixed<2, 2>(x, outer, n, inner, m) : assign_fixed<0, 2>(x, outer, n, inner, m);
  if (inner == 4) return n == 2 ? assign_fixed<2, 4>(x, outer, n, inner, m) : assign_fixed<0, 4>(x, outer, n, inner, m);
  if (inner == 8) return assign_fixed<0, 8>(x, outer, n, inner, m);
  assign_fixed<0, 0>(x, outer, n, inner, m);
}

void subtract_from(const double* x, double* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = x[i] == -infinity<double> ? x[i] : x[i] - y[i];
}

void exp(double* x, std::size_t n) {
  std::size_t i = 0;
  for (; i + lanes<double> <= n; i += lanes<double>) store<double>(x + i, vexp(load<double>(x + i)));
  if (i < n) store_partial<double>(x + i, vexp(load_partial<double>(x + i, n - i)), n - i);
}

void scale(double* x, double factor, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] *= factor;
}
void shift(double* x, double term, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] += term;
}

double least_positive(const double* x, std::size_t n) {
  double least = infinity<double>;
  for (std::size_t i = 0; i < n; ++i) {
    const double value = x[i] > 0 ? x[i] : infinity<double>;
    least = value < least ? value : least;
  }
  return least;
}

}  // namespace

template <>
const TableKernels& kernels() {
  static constexpr TableKernels table = {reduce<Sum>, reduce<Max>, assign,          subtract_from,   exp,
                                         scale,       shift,       reduce_run<Max>, reduce_run<Sum>, least_positive};
  return table;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
