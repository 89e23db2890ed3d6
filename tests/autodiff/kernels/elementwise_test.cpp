#include <tapestry/autodiff/kernels/elementwise.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "autodiff/kernels/architectures.hpp"

using namespace tapestry::detail;
using tapestry::test::tables;

namespace {

template <class T>
std::vector<T> random_values(std::size_t n, double low, double high, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<T> x(n);
  for (T& v : x) v = T(uniform(random));
  return x;
}

/// Inside every function's domain.
std::pair<double, double> domain(Unary f) {
  switch (f) {
    case Unary::sqrt:
    case Unary::rsqrt:
    case Unary::reciprocal:
    case Unary::log:
    case Unary::lgamma:
    case Unary::digamma:
    case Unary::trigamma:
      return {0.3, 5};
    case Unary::log1p:
      return {-0.8, 3};
    case Unary::asin:
    case Unary::acos:
      return {-0.9, 0.9};
    case Unary::logit:
      return {0.05, 0.95};
    default:
      return {-2.9, 2.9};
  }
}

constexpr double inf = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("elementwise: unary derivatives agree with central differences") {
  for (const auto& isa : tables<ElementwiseKernels<double>>())
    for (int f = 0; f < int(Unary::count); ++f) {
      const std::size_t n = 131;
      const auto [low, high] = domain(Unary(f));
      const std::vector<double> x = random_values<double>(n, low, high, 5), g = random_values<double>(n, -1, 1, 6);
      const double h = 1e-5;
      std::vector<double> up(n), down(n), y(n), yu(n), yd(n), out(n, 3);
      for (std::size_t i = 0; i < n; ++i) up[i] = x[i] + h, down[i] = x[i] - h;
      isa.table->unary[f](x.data(), y.data(), n);
      isa.table->unary[f](up.data(), yu.data(), n);
      isa.table->unary[f](down.data(), yd.data(), n);
      const bool reads_x = backward_reads_input(Unary(f)), reads_y = backward_reads_output(Unary(f));
      isa.table->unary_backward[f](g.data(), reads_x ? x.data() : nullptr, reads_y ? y.data() : nullptr, out.data(), n,
                                   true);
      for (std::size_t i = 0; i < n; ++i) {
        const double slope = zero_derivative(Unary(f)) ? 0 : (yu[i] - yd[i]) / (2 * h);
        INFO(isa.name, " function ", f, " x ", x[i]);
        CHECK(std::fabs(out[i] - 3 - g[i] * slope) <= 1e-7 * (1 + std::fabs(slope)));
      }
    }
}

TEST_CASE("elementwise: parametric derivatives agree with central differences") {
  for (const auto& isa : tables<ElementwiseKernels<double>>())
    for (int f = 0; f < int(Parametric::count); ++f)
      for (const double p : f == int(Parametric::polygamma) ? std::vector<double>{0, 1, 2, 3}
                            : f == int(Parametric::power)
                                ? std::vector<double>{0, 1, 2, 3, 4, -1, -2, 0.5, -0.5, 1.5, 2.7}
                                : std::vector<double>{0.7}) {
        const std::size_t n = 37;
        const double q = 1.9, h = 1e-5;
        const std::vector<double> x = random_values<double>(n, f >= int(Parametric::power) ? 0.4 : -3, 3, 5);
        std::vector<double> up(n), down(n), yu(n), yd(n), g(n, 2), out(n);
        for (std::size_t i = 0; i < n; ++i) up[i] = x[i] + h, down[i] = x[i] - h;
        isa.table->parametric[f](up.data(), p, q, yu.data(), n);
        isa.table->parametric[f](down.data(), p, q, yd.data(), n);
        isa.table->parametric_backward[f](g.data(), x.data(), p, q, out.data(), n, false);
        for (std::size_t i = 0; i < n; ++i) {
          INFO(isa.name, " function ", f, " p ", p, " x ", x[i]);
          CHECK(out[i] / 2 == doctest::Approx((yu[i] - yd[i]) / (2 * h)).epsilon(1e-6));
        }
      }
}

TEST_CASE("elementwise: parametric values") {
  for (const auto& isa : tables<ElementwiseKernels<double>>()) {
    const double x[] = {-2, -0.0, 0.5, 3, -inf, inf};
    double y[6];
    isa.table->parametric[int(Parametric::leaky_relu)](x, 0.1, 0, y, 6);
    CHECK(y[0] == -0.2);
    CHECK(y[3] == 3);
    isa.table->parametric[int(Parametric::elu)](x, 2, 0, y, 6);
    CHECK(y[0] == doctest::Approx(2 * std::expm1(-2)).epsilon(1e-15));
    CHECK(y[2] == 0.5);
    CHECK(y[4] == -2);
    isa.table->parametric[int(Parametric::clamp)](x, -1, 1, y, 6);
    CHECK(std::vector<double>(y, y + 6) == std::vector<double>{-1, 0, 0.5, 1, -1, 1});
    for (const double p : {0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 2.5, 7.0}) {
      isa.table->parametric[int(Parametric::power)](x, p, 0, y, 6);
      for (int i = 0; i < 6; ++i) {
        const double expected = std::pow(x[i], p);
        INFO(isa.name, " ", x[i], "^", p);
        if (std::isnan(expected))
          CHECK(std::isnan(y[i]));
        else if (std::isfinite(expected))
          CHECK(y[i] == doctest::Approx(expected).epsilon(1e-15));
        else
          CHECK(y[i] == expected);
      }
    }
  }
}

TEST_CASE("elementwise: binary values and derivatives, for all strides and lengths") {
  const auto reference = [](Binary f, double a, double b) -> double {
    switch (f) {
      case Binary::add:
        return a + b;
      case Binary::subtract:
        return a - b;
      case Binary::multiply:
        return a * b;
      case Binary::divide:
        return a / b;
      case Binary::maximum:
        return std::fmax(a, b);
      case Binary::minimum:
        return std::fmin(a, b);
      case Binary::pow:
        return std::pow(a, b);
      case Binary::xlogy:
        return a * std::log(b);
      case Binary::atan2:
        return std::atan2(a, b);
      case Binary::logaddexp:
        return std::log(std::exp(a) + std::exp(b));
      case Binary::less:
        return a < b;
      case Binary::less_equal:
        return a <= b;
      case Binary::greater:
        return a > b;
      case Binary::greater_equal:
        return a >= b;
      case Binary::equal:
        return a == b;
      case Binary::not_equal:
        return a != b;
      default:
        return not_a_number;
    }
  };
  for (const auto& isa : tables<ElementwiseKernels<double>>())
    for (int f = 0; f < int(Binary::count); ++f)
      for (const std::size_t sa : {0, 1})
        for (const std::size_t sb : {0, 1})
          for (const std::size_t n : {0, 1, 3, 8, 33, 70}) {
            const std::vector<double> a = random_values<double>(n + 1, 0.2, 2, 1),
                                      b = random_values<double>(n + 1, 0.2, 2, 2),
                                      g = random_values<double>(n + 1, -1, 1, 3);
            std::vector<double> y(n + 1, 7), da(n + 1, 7), db(n + 1, 7);
            isa.table->binary[f](a.data(), sa, b.data(), sb, y.data(), n);
            const bool reads = backward_reads_inputs(Binary(f)), reads_y = backward_reads_output(Binary(f));
            isa.table->binary_backward_a[f](g.data(), reads ? a.data() : nullptr, sa, reads ? b.data() : nullptr, sb,
                                            reads_y ? y.data() : nullptr, da.data(), n, false);
            isa.table->binary_backward_b[f](g.data(), reads ? a.data() : nullptr, sa, reads ? b.data() : nullptr, sb,
                                            reads_y ? y.data() : nullptr, db.data(), n, true);
            for (std::size_t i = 0; i < n; ++i) {
              const double u = a[i * sa], v = b[i * sb], h = 1e-6;
              INFO(isa.name, " function ", f, " of ", u, " and ", v);
              CHECK(y[i] == doctest::Approx(reference(Binary(f), u, v)).epsilon(1e-14));
              double slope_a = 0, slope_b = 0;
              if (!zero_derivative(Binary(f))) {
                slope_a = (reference(Binary(f), u + h, v) - reference(Binary(f), u - h, v)) / (2 * h);
                slope_b = (reference(Binary(f), u, v + h) - reference(Binary(f), u, v - h)) / (2 * h);
              }
              CHECK(da[i] == doctest::Approx(g[i] * slope_a).epsilon(1e-7));
              CHECK(db[i] == doctest::Approx(7 + g[i] * slope_b).epsilon(1e-7));
            }
            CHECK(y[n] == 7);
            CHECK(da[n] == 7);
            CHECK(db[n] == 7);
          }
}

TEST_CASE("elementwise: edges of binary functions") {
  for (const auto& isa : tables<ElementwiseKernels<double>>()) {
    INFO(isa.name);
    const auto value = [&](Binary f, double a, double b) {
      double y;
      isa.table->binary[int(f)](&a, 1, &b, 1, &y, 1);
      return y;
    };
    const auto slopes = [&](Binary f, double a, double b) {
      const double y = value(f, a, b), g = 1;
      double da, db;
      isa.table->binary_backward_a[int(f)](&g, &a, 1, &b, 1, &y, &da, 1, false);
      isa.table->binary_backward_b[int(f)](&g, &a, 1, &b, 1, &y, &db, 1, false);
      return std::pair<double, double>(da, db);
    };
    using P = std::pair<double, double>;
    CHECK(slopes(Binary::maximum, 2, 2) == P(0.5, 0.5));
    CHECK(slopes(Binary::minimum, 2, 2) == P(0.5, 0.5));
    CHECK(slopes(Binary::maximum, 2, 1) == P(1, 0));
    CHECK(slopes(Binary::minimum, 2, 1) == P(0, 1));
    for (const Binary f : {Binary::maximum, Binary::minimum, Binary::logaddexp}) {
      CHECK(std::isnan(value(f, not_a_number, 1)));
      CHECK(std::isnan(value(f, 1, not_a_number)));
    }
    CHECK(value(Binary::xlogy, 0, 0) == 0);
    CHECK(std::isnan(value(Binary::xlogy, 0, not_a_number)));
    CHECK(value(Binary::xlogy, 1, 0) == -inf);
    CHECK(slopes(Binary::xlogy, 0, 0) == P(0, 0));
    CHECK(value(Binary::logaddexp, -inf, -inf) == -inf);
    CHECK(slopes(Binary::logaddexp, -inf, -inf) == P(0, 0));
    CHECK(value(Binary::logaddexp, -inf, 3) == 3);
    CHECK(slopes(Binary::logaddexp, -inf, 3) == P(0, 1));
    CHECK(value(Binary::logaddexp, inf, 3) == inf);
    CHECK(slopes(Binary::logaddexp, inf, inf) == P(0.5, 0.5));
    CHECK(value(Binary::logaddexp, 1000, 1000) == doctest::Approx(1000 + std::log(2.0)).epsilon(1e-15));
    CHECK(value(Binary::pow, 0, 0) == 1);
    CHECK(slopes(Binary::pow, 0, 2) == P(0, 0));
    CHECK(slopes(Binary::pow, 0, 0) == P(0, 0));
    CHECK(slopes(Binary::pow, -3, 2).first == doctest::Approx(-6).epsilon(1e-15));
    CHECK(value(Binary::equal, not_a_number, not_a_number) == 0);
    CHECK(value(Binary::not_equal, not_a_number, not_a_number) == 1);
  }
}

TEST_CASE_TEMPLATE("elementwise: unary functions treat every length and in-place output alike", T, float, double) {
  for (const auto& isa : tables<ElementwiseKernels<T>>())
    for (int f = 0; f < int(Unary::count); ++f) {
      const auto [low, high] = domain(Unary(f));
      const std::vector<T> x = random_values<T>(150, low, high, 5);
      std::vector<T> all(150);
      isa.table->unary[f](x.data(), all.data(), 150);
      for (const std::size_t n : {0, 1, 2, 7, 17, 64, 149}) {
        std::vector<T> y = x;
        isa.table->unary[f](y.data(), y.data(), n);
        INFO(isa.name, " function ", f, " n ", n);
        for (std::size_t i = 0; i < n; ++i) CHECK(y[i] == all[i]);
        for (std::size_t i = n; i < 150; ++i) CHECK(y[i] == x[i]);
      }
    }
}

TEST_CASE("elementwise: where g is zero the gradient is, however steep the function") {
  for (const auto& isa : tables<ElementwiseKernels<double>>()) {
    const double g[] = {0, 1}, x[] = {0, 0};
    for (const Unary f : {Unary::sqrt, Unary::log, Unary::rsqrt, Unary::reciprocal, Unary::logit}) {
      double y[2], out[2];
      isa.table->unary[int(f)](x, y, 2);
      isa.table->unary_backward[int(f)](g, x, y, out, 2, false);
      INFO(isa.name, " function ", int(f));
      CHECK(out[0] == 0);
      CHECK(std::isinf(out[1]));
    }
  }
}

TEST_CASE_TEMPLATE("elementwise: select and its gradients", T, float, double) {
  for (const auto& isa : tables<ElementwiseKernels<T>>()) {
    INFO(isa.name);
    const std::size_t n = 45;
    std::vector<T> c(n), a = random_values<T>(n, 1, 2, 1), b = random_values<T>(n, 3, 4, 2), y(n), da(n, 1), db(n, 1);
    for (std::size_t i = 0; i < n; ++i) c[i] = i % 3 == 0;
    isa.table->select(c.data(), 1, a.data(), 1, b.data(), 0, y.data(), n);
    isa.table->select_backward(a.data(), c.data(), 1, true, da.data(), n, true);
    isa.table->select_backward(a.data(), c.data(), 1, false, db.data(), n, false);
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(y[i] == (i % 3 == 0 ? a[i] : b[0]));
      CHECK(da[i] == (i % 3 == 0 ? 1 + a[i] : 1));
      CHECK(db[i] == (i % 3 == 0 ? 0 : a[i]));
    }
  }
}

TEST_CASE_TEMPLATE("elementwise: sums, fills and checks", T, float, double) {
  for (const auto& isa : tables<ElementwiseKernels<T>>())
    for (const std::size_t n : {0, 1, 5, 31, 1024, 2049, 5000, 100001}) {
      INFO(isa.name, " n ", n);
      std::vector<T> x = random_values<T>(n, -1, 2, 9), y(n + 1, T(4));
      long double exact = 0, magnitude = 0;
      for (const T v : x) exact += v, magnitude += std::fabs(v);
      CHECK(std::fabs(isa.table->sum(x.data(), n) - exact) <= 12 * std::numeric_limits<T>::epsilon() * magnitude);
      CHECK(isa.table->all_finite(x.data(), n));
      for (const std::size_t at : {std::size_t(0), n / 2, n - 1})
        for (const double bad : {inf, -inf, not_a_number}) {
          if (n == 0) continue;
          std::vector<T> z = x;
          z[at] = T(bad);
          CHECK_FALSE(isa.table->all_finite(z.data(), n));
        }
      isa.table->fill(T(2), y.data(), n);
      isa.table->add_scaled(T(0.5), x.data(), y.data(), n);
      isa.table->accumulate(x.data(), y.data(), n);
      if (n > 0) CHECK(y[n - 1] == doctest::Approx(2 + 1.5 * x[n - 1]).epsilon(1e-6));
      isa.table->scale(T(3), x.data(), y.data(), n);
      if (n > 0) CHECK(y[n / 2] == 3 * x[n / 2]);
      CHECK(y[n] == T(4));
    }
}
