#include <tapestry/autodiff/kernels/elementwise.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "autodiff/kernels/architectures.hpp"

using namespace tapestry::detail;
using tapestry::test::tables;
using tapestry::test::ulps;
using Real = long double;

namespace {

constexpr Real pi = 3.14159265358979323846264338327950288L;

Real digamma(Real x) {
  if (x == 0) return std::signbit(x) ? INFINITY : -INFINITY;
  if (x < 0) return x == std::floor(x) ? NAN : digamma(1 - x) - pi / std::tan(pi * (x - std::round(x)));
  if (std::isinf(x)) return x;
  Real sum = 0;
  while (x < 60) sum -= 1 / x++;
  const Real w = 1 / (x * x);
  return sum + std::log(x) - 1 / (2 * x) -
         w * (1 / 12.0L - w * (1 / 120.0L - w * (1 / 252.0L - w * (1 / 240.0L - w / 132))));
}
/// The n-th derivative of digamma by its series with the tail's integral and corrections, x > 0.
Real polygamma(int n, Real x) {
  Real factorial = 1, sum = 0;
  for (int k = 1; k <= n; ++k) factorial *= k;
  while (x < 60) sum += std::pow(x++, Real(-n - 1));
  const Real s = n + 1, p = std::pow(x, -s), w = 1 / (x * x);
  sum += p * x / (s - 1) + p / 2 +
         p / x * s *
             (1 / 12.0L - (s + 1) * (s + 2) * w *
                              (1 / 720.0L - (s + 3) * (s + 4) * w * (1 / 30240.0L - (s + 5) * (s + 6) * w / 1209600)));
  return (n % 2 ? 1 : -1) * factorial * sum;
}
Real trigamma(Real x) {
  if (x < 0) {
    const Real s = std::sin(pi * (x - std::round(x)));
    return s == 0 ? INFINITY : pi * pi / (s * s) - trigamma(1 - x);
  }
  return x == 0 ? INFINITY : std::isinf(x) ? 0 : polygamma(1, x);
}

template <class T>
struct Case {
  std::string name;
  Unary function;
  std::function<Real(Real)> exact;
  Real low, high;    ///< beside all magnitudes, inputs are drawn from here
  double bound;      ///< in ulp
  double floor = 0;  ///< an absolute error that is allowed, where the value passes through zero
};

template <class T>
std::vector<Case<T>> cases() {
  return {
      {"negative", Unary::negative, [](Real x) { return -x; }, -1, 1, 0.5},
      {"square", Unary::square, [](Real x) { return x * x; }, -1, 1, 0.51},
      {"sqrt", Unary::sqrt, [](Real x) { return std::sqrt(x); }, 0, 4, 0.51},
      {"rsqrt", Unary::rsqrt, [](Real x) { return 1 / std::sqrt(x); }, 0, 4, 1.5},
      {"reciprocal", Unary::reciprocal, [](Real x) { return 1 / x; }, -4, 4, 0.51},
      {"exp", Unary::exp, [](Real x) { return std::exp(x); }, -110, 90, 1},
      {"exp", Unary::exp, [](Real x) { return std::exp(x); }, -750, 711, 1},
      {"expm1", Unary::expm1, [](Real x) { return std::expm1(x); }, -3, 3, 2},
      {"log", Unary::log, [](Real x) { return std::log(x); }, 0.5, 2, 1},
      {"log1p", Unary::log1p, [](Real x) { return std::log1p(x); }, -1, 3, 1.5},
      {"sigmoid", Unary::sigmoid, [](Real x) { return 1 / (1 + std::exp(-x)); }, -100, 40, 2.5},
      {"log_sigmoid", Unary::log_sigmoid, [](Real x) { return x < -60 ? x : -std::log1p(std::exp(-x)); }, -30, 100,
       2.5},
      {"softplus", Unary::softplus, [](Real x) { return x > 60 ? x : std::log1p(std::exp(x)); }, -100, 30, 2.5},
      {"tanh", Unary::tanh, [](Real x) { return std::tanh(x); }, -10, 10, 3},
      {"selu", Unary::selu,
       [](Real x) {
         const Real l = 1.0507009873554804934193349852946L, a = 1.6732632423543772848170429916717L;
         return x > 0 ? l * x : l * a * std::expm1(x);
       },
       -10, 10, 3},
      {"gelu", Unary::gelu, [](Real x) { return x == -INFINITY ? 0 : x * std::erfc(-x * std::sqrt(0.5L)) / 2; }, -1, 10,
       4},
      {"sin", Unary::sin, [](Real x) { return std::sin(x); }, -100, 100, 1},
      {"cos", Unary::cos, [](Real x) { return std::cos(x); }, -100, 100, 1},
      {"tan", Unary::tan, [](Real x) { return std::tan(x); }, -100, 100, 1},
      {"asin", Unary::asin, [](Real x) { return std::asin(x); }, -1, 1, 1},
      {"acos", Unary::acos, [](Real x) { return std::acos(x); }, -1, 1, 1},
      {"atan", Unary::atan, [](Real x) { return std::atan(x); }, -4, 4, 1},
      {"sinh", Unary::sinh, [](Real x) { return std::sinh(x); }, -90, 90, 1.6},
      {"cosh", Unary::cosh, [](Real x) { return std::cosh(x); }, -90, 90, 1.6},
      {"erf", Unary::erf, [](Real x) { return std::erf(x); }, -4, 4, 1.5},
      {"erfc", Unary::erfc, [](Real x) { return std::erfc(x); }, -6, 12, 1.5},
      {"lgamma", Unary::lgamma, [](Real x) { return x == -INFINITY ? INFINITY : std::lgamma(x); }, 0, 5, 1},
      {"digamma", Unary::digamma, digamma, 0, 20, 6, 4e-15},
      {"trigamma", Unary::trigamma, trigamma, 0, 20, 8},
      {"logit", Unary::logit,
       [](Real x) { return x > 0.25 && x < 0.75 ? 2 * std::atanh(2 * x - 1) : std::log(x / (1 - x)); }, 0, 1, 3},
  };
}

template <class T>
std::vector<T> inputs(const Case<T>& c, int count) {
  using Limits = std::numeric_limits<T>;
  std::mt19937_64 random(7);
  std::vector<T> x = {T(0),
                      -T(0),
                      T(1),
                      T(-1),
                      T(0.5),
                      T(2),
                      T(3),
                      Limits::infinity(),
                      -Limits::infinity(),
                      Limits::quiet_NaN(),
                      Limits::denorm_min(),
                      -Limits::denorm_min(),
                      Limits::min(),
                      -Limits::min(),
                      Limits::min() / 2,
                      Limits::min() * 3 / 4,
                      Limits::max(),
                      Limits::lowest(),
                      Limits::epsilon(),
                      T(88.5),
                      T(88.72283),
                      T(88.7229),
                      T(-87.4),
                      T(-103.2),
                      T(-103.98),
                      T(709.7),
                      T(709.79),
                      T(-708.5),
                      T(-745.1),
                      T(-745.14)};
  for (const T center : {T(1), T(-1), T(2), T(0.5)}) {
    x.push_back(std::nextafter(center, T(4)));
    x.push_back(std::nextafter(center, T(-4)));
    for (int k = 2; k < Limits::digits; k += 3)
      for (const int sign : {-1, 1}) x.push_back(center * (1 + sign * std::ldexp(T(1), -k)));
  }
  std::uniform_real_distribution<double> uniform(0, 1);
  while (int(x.size()) < count / 2) x.push_back(T(c.low + (c.high - c.low) * uniform(random)));
  while (int(x.size()) < count) {
    const int exponent = Limits::min_exponent - Limits::digits +
                         int(uniform(random) * (Limits::max_exponent - Limits::min_exponent + Limits::digits));
    x.push_back(T(std::ldexp(uniform(random) + 0.5, exponent)) * (random() % 2 ? 1 : -1));
  }
  return x;
}

template <class T>
bool skipped(Unary f, T x) {
  switch (f) {
    case Unary::sin:
    case Unary::cos:
    case Unary::tan:
      return std::fabs(x) > T(1e6) && std::isfinite(x);  // the long double reference itself is unsure
    case Unary::digamma:
    case Unary::trigamma:
    case Unary::lgamma:
      return (x < T(-100) && std::isfinite(x)) || (f == Unary::lgamma && x < 0);
    case Unary::gelu:
      return x < T(-1) && std::isfinite(x);  // the tail is held by absolute bounds in another test
    default:
      return false;
  }
}

template <class T>
void check_accuracy() {
  for (const Case<T>& c : cases<T>()) {
    const std::vector<T> x = inputs(c, 8000);
    std::vector<Real> exact(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) exact[i] = c.exact(x[i]);
    for (const auto& isa : tables<ElementwiseKernels<T>>()) {
      std::vector<T> y(x.size());
      isa.table->unary[int(c.function)](x.data(), y.data(), x.size());
      double worst = 0;
      T at = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (skipped(c.function, x[i])) continue;
        double error = ulps(y[i], exact[i]);
        if (std::fabs(Real(y[i]) - exact[i]) <= c.floor) error = 0;
        if (error > worst) worst = error, at = x[i];
      }
      INFO(isa.name, " ", c.name, std::string(sizeof(T) == 4 ? " float" : " double"), " at ", at);
      CHECK(worst <= c.bound);
    }
  }
}

}  // namespace

TEST_CASE("elementwise: float functions are within their bounds of the exact values") {
  check_accuracy<float>();
}
TEST_CASE("elementwise: double functions are within their bounds of the exact values") {
  check_accuracy<double>();
}

TEST_CASE_TEMPLATE("elementwise: polygamma of any order", T, float, double) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> uniform(0.01, 30);
  std::vector<T> x(100), y(100);
  for (T& v : x) v = T(uniform(random));
  for (const auto& isa : tables<ElementwiseKernels<T>>())
    for (int n = 0; n <= 8; ++n) {
      isa.table->parametric[int(Parametric::polygamma)](x.data(), T(n), T(0), y.data(), x.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const Real exact = n == 0 ? digamma(x[i]) : polygamma(n, x[i]);
        INFO(isa.name, " n ", n, " x ", x[i]);
        CHECK(std::fabs(Real(y[i]) - exact) <= 8 * std::numeric_limits<T>::epsilon() * std::fabs(exact) + 2e-15);
      }
    }
}

TEST_CASE("elementwise: polygamma of negative arguments follows the recurrence") {
  for (const auto& isa : tables<ElementwiseKernels<double>>())
    for (int n = 2; n <= 9; ++n)
      for (double x = -5.35; x < 0; x += 0.31) {
        // psi_n(x + 1) = psi_n(x) + (-1)^n n! x^(-n-1)
        const double at[2] = {x, x + 1};
        double y[2];
        isa.table->parametric[int(Parametric::polygamma)](at, n, 0, y, 2);
        const double step = (n % 2 ? -1 : 1) * std::tgamma(n + 1.0) * std::pow(x, -n - 1);
        INFO(isa.name, " n ", n, " x ", x);
        CHECK(std::fabs(y[1] - y[0] - step) <= 1e-12 * (std::fabs(y[0]) + std::fabs(y[1]) + std::fabs(step)));
      }
}

TEST_CASE_TEMPLATE("elementwise: the tail of gelu vanishes smoothly", T, float, double) {
  for (const auto& isa : tables<ElementwiseKernels<T>>())
    for (T x = -1; x > -40; x *= T(1.07)) {
      T y;
      isa.table->unary[int(Unary::gelu)](&x, &y, 1);
      const Real exact = Real(x) * std::erfc(-Real(x) * std::sqrt(0.5L)) / 2;
      INFO(isa.name, " x ", x);
      CHECK(std::fabs(y - exact) <=
            (2 + x * x) * std::numeric_limits<T>::epsilon() * std::fabs(exact) + std::numeric_limits<T>::min());
    }
}
