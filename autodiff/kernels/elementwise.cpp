#include <cmath>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/math.hpp>
namespace tapestry::detail::TAPESTRY_ARCH {
namespace {
template <class T, class F, class D>
struct U {
  static void f(const T* x, T* y, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) y[i] = F{}(x[i]);
  }
  static void b(const T* g, const T* x, const T* y, T* o, std::size_t n, bool acc) {
    for (std::size_t i = 0; i < n; ++i) {
      T v = g[i] * D{}(x ? x[i] : T(0), y ? y[i] : T(0));
      o[i] = acc ? o[i] + v : v;
    }
  }
};
template <class T, class F, class DA, class DB>
struct B {
  static void f(const T* a, std::size_t sa, const T* b, std::size_t sb, T* y, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) y[i] = F{}(a[i * sa], b[i * sb]);
  }
  template <class D>
  static void d(const T* g, const T* a, std::size_t sa, const T* b, std::size_t sb, const T*, T* o, std::size_t n,
                bool acc) {
    for (std::size_t i = 0; i < n; ++i) {
      T v = g[i] * D{}(a ? a[i * sa] : T(0), b ? b[i * sb] : T(0));
      o[i] = acc ? o[i] + v : v;
    }
  }
};
template <class T>
T sig(T x) {
  return T(1) / (T(1) + std::exp(-x));
}
template <class T>
constexpr ElementwiseKernels<T> table() {
  ElementwiseKernels<T> t{};
  t.accumulate = [](const T* x, T* o, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) o[i] += x[i];
  };
  t.fill = [](T v, T* o, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) o[i] = v;
  };
  t.sum = [](const T* x, std::size_t n) {
    T s = 0;
    for (std::size_t i = 0; i < n; ++i) s += x[i];
    return s;
  };
  t.all_finite = [](const T* x, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
      if (!(x[i] - x[i] == T(0))) return false;
    return true;
  };
#define UN(N, V, DV)                                                     \
  {                                                                      \
    auto f = [](T x) {                                                   \
      (void)x;                                                           \
      return T(V);                                                       \
    };                                                                   \
    auto d = [](T x, T y) {                                              \
      (void)x;                                                           \
      (void)y;                                                           \
      return T(DV);                                                      \
    };                                                                   \
    t.unary[int(Unary::N)] = U<T, decltype(f), decltype(d)>::f;          \
    t.unary_backward[int(Unary::N)] = U<T, decltype(f), decltype(d)>::b; \
  }
  UN(negative, -x, -1)
  UN(square, x * x, 2 * x) UN(sqrt, std::sqrt(x), T(.5) / y) UN(rsqrt, 1 / std::sqrt(x), T(-.5) * y * y * y)
      UN(reciprocal, 1 / x, -y * y) UN(exp, std::exp(x), y) UN(expm1, std::expm1(x), y + 1) UN(log, std::log(x), 1 / x)
          UN(log1p, std::log1p(x), 1 / (1 + x))
              UN(log_sigmoid, x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x)), sig(-x))
                  UN(sigmoid, sig(x), y * (1 - y)) UN(tanh, std::tanh(x), 1 - y * y)
                      UN(relu, x > 0 ? x : 0, y > 0 ? 1 : 0)
                          UN(softplus, x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)), sig(x))
                              UN(abs, std::fabs(x),
                                 x > 0   ? 1
                                 : x < 0 ? -1
                                         : 0) UN(sign,
                                                 x > 0   ? 1
                                                 : x < 0 ? -1
                                                         : 0,
                                                 0) UN(floor, std::floor(x), 0) UN(round, std::nearbyint(x), 0)
#define BI(N, V, DA, DB)                                               \
  {                                                                    \
    auto f = [](T a, T b) { return T(V); };                            \
    auto da = [](T a, T b) {                                           \
      (void)a;                                                         \
      (void)b;                                                         \
      return T(DA);                                                    \
    };                                                                 \
    auto db = [](T a, T b) {                                           \
      (void)a;                                                         \
      (void)b;                                                         \
      return T(DB);                                                    \
    };                                                                 \
    using X = B<T, decltype(f), decltype(da), decltype(db)>;           \
    t.binary[int(Binary::N)] = X::f;                                   \
    t.binary_backward_a[int(Binary::N)] = X::template d<decltype(da)>; \
    t.binary_backward_b[int(Binary::N)] = X::template d<decltype(db)>; \
  }
                                  BI(add, a + b, 1, 1) BI(subtract, a - b, 1, -1) BI(multiply, a * b, b, a)
                                      BI(divide, a / b, 1 / b, -a / (b * b))
                                          BI(maximum, a > b ? a : b,
                                             a > b   ? 1
                                             : a < b ? 0
                                                     : .5,
                                             b > a   ? 1
                                             : b < a ? 0
                                                     : .5) BI(minimum, a < b ? a : b,
                                                              a < b   ? 1
                                                              : a > b ? 0
                                                                      : .5,
                                                              b < a   ? 1
                                                              : b > a ? 0
                                                                      : .5) return t;
}
}  // namespace
template <>
const ElementwiseKernels<float>& kernels() {
  static const auto t = table<float>();
  return t;
}
template <>
const ElementwiseKernels<double>& kernels() {
  static const auto t = table<double>();
  return t;
}
}  // namespace tapestry::detail::TAPESTRY_ARCH
