#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/special.hpp>

namespace tapestry::detail {
void register_elementary(Registry& r) {
  const auto all = uniform_example({2, 9}, -3, 3), positive = uniform_example({2, 9}, 0.1, 3);
  const auto away = distinct_example({3, 5}), inside = uniform_example({2, 9}, -0.9, 0.9);
  const auto probability = uniform_example({2, 9}, 0.1, 0.9);
#define TAPESTRY_REGISTER(name, domain, value) \
  add_elementwise(                             \
      r, #name, {domain}, [](const auto& x) { return name(x[0]); }, [](double x) { return value; })
  TAPESTRY_REGISTER(negative, all, -x);
  TAPESTRY_REGISTER(square, all, x * x);
  TAPESTRY_REGISTER(sqrt, positive, std::sqrt(x));
  TAPESTRY_REGISTER(rsqrt, positive, 1 / std::sqrt(x));
  TAPESTRY_REGISTER(reciprocal, positive, 1 / x);
  TAPESTRY_REGISTER(exp, all, std::exp(x));
  TAPESTRY_REGISTER(expm1, all, std::expm1(x));
  TAPESTRY_REGISTER(log, positive, std::log(x));
  TAPESTRY_REGISTER(log1p, positive, std::log1p(x));
  TAPESTRY_REGISTER(log_sigmoid, all, -std::log1p(std::exp(-x)));
  TAPESTRY_REGISTER(sigmoid, all, 1 / (1 + std::exp(-x)));
  TAPESTRY_REGISTER(tanh, all, std::tanh(x));
  TAPESTRY_REGISTER(relu, away, x < 0 ? 0 : x);
  TAPESTRY_REGISTER(softplus, all, std::log1p(std::exp(x)));
  TAPESTRY_REGISTER(abs, away, std::abs(x));
  TAPESTRY_REGISTER(sign, away, x > 0 ? 1 : x < 0 ? -1 : x);
  TAPESTRY_REGISTER(floor, away, std::floor(x));
  TAPESTRY_REGISTER(round, away, std::nearbyint(x));
  TAPESTRY_REGISTER(selu, away, 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * std::expm1(x)));
  TAPESTRY_REGISTER(gelu, all, x < -40 ? 0 : 0.5 * x * std::erfc(-x * 0.7071067811865475));
  TAPESTRY_REGISTER(sin, all, std::sin(x));
  TAPESTRY_REGISTER(cos, all, std::cos(x));
  TAPESTRY_REGISTER(tan, inside, std::tan(x));
  TAPESTRY_REGISTER(asin, inside, std::asin(x));
  TAPESTRY_REGISTER(acos, inside, std::acos(x));
  TAPESTRY_REGISTER(atan, all, std::atan(x));
  TAPESTRY_REGISTER(sinh, all, std::sinh(x));
  TAPESTRY_REGISTER(cosh, all, std::cosh(x));
  TAPESTRY_REGISTER(erf, all, std::erf(x));
  TAPESTRY_REGISTER(erfc, all, std::erfc(x));
  TAPESTRY_REGISTER(lgamma, positive, std::lgamma(x));
  TAPESTRY_REGISTER(logit, probability, std::log(x / (1 - x)));
#undef TAPESTRY_REGISTER
  // From the series log(x) - 1 / 2x - ... at x + n >= 20, and its derivatives.
  add_elementwise(
      r, "digamma", {positive}, [](const auto& x) { return digamma(x[0]); },
      [](double x) {
        if (x == -std::numeric_limits<double>::infinity()) return std::numeric_limits<double>::quiet_NaN();
        double shift = 0;
        for (; x < 20; ++x) shift += 1 / x;
        return std::log(x) - 0.5 / x - 1 / (12 * x * x) + 1 / (120 * std::pow(x, 4)) - 1 / (252 * std::pow(x, 6)) +
               1 / (240 * std::pow(x, 8)) - shift;
      });
  add_elementwise(
      r, "trigamma", {positive}, [](const auto& x) { return trigamma(x[0]); },
      [](double x) {
        if (x == -std::numeric_limits<double>::infinity()) return std::numeric_limits<double>::quiet_NaN();
        double shift = 0;
        for (; x < 20; ++x) shift += 1 / (x * x);
        return 1 / x + 0.5 / (x * x) + 1 / (6 * std::pow(x, 3)) - 1 / (30 * std::pow(x, 5)) +
               1 / (42 * std::pow(x, 7)) + shift;
      });
  add_elementwise(
      r, "polygamma", {positive}, [](const auto& x) { return polygamma(2, x[0]); },
      [](double x) {
        if (x == -std::numeric_limits<double>::infinity()) return std::numeric_limits<double>::quiet_NaN();
        double shift = 0;
        for (; x < 20; ++x) shift -= 2 / (x * x * x);
        return -1 / (x * x) - 1 / (x * x * x) - 0.5 / std::pow(x, 4) + 1 / (6 * std::pow(x, 6)) -
               1 / (6 * std::pow(x, 8)) + 0.3 / std::pow(x, 10) + shift;
      })
      .float_tolerance = 1e-4;
  add_elementwise(
      r, "leaky_relu", {away}, [](const auto& x) { return leaky_relu(x[0], 0.2); },
      [](double x) { return x > 0 ? x : 0.2 * x; });
  add_elementwise(
      r, "elu", {away}, [](const auto& x) { return elu(x[0], 0.7); },
      [](double x) { return x > 0 ? x : 0.7 * std::expm1(x); });
  add_elementwise(
      r, "clamp", {away}, [](const auto& x) { return clamp(x[0], -0.5, 1); },
      [](double x) { return x < -0.5 ? -0.5
                            : x > 1  ? 1
                                     : x; });
  add_elementwise(
      r, "pow_number", {positive}, [](const auto& x) { return pow(x[0], 2.5); },
      [](double x) { return std::pow(x, 2.5); });
  const auto other = uniform_example({9}, 0.2, 2.5);
  add_elementwise(
      r, "pow", {positive, other}, [](const auto& x) { return pow(x[0], x[1]); },
      [](double a, double b) { return std::pow(a, b); });
  add_elementwise(
      r, "xlogy", {all, other}, [](const auto& x) { return xlogy(x[0], x[1]); },
      [](double a, double b) { return a == 0 && b == b ? 0 : a * std::log(b); });
  add_elementwise(
      r, "atan2", {all, other}, [](const auto& x) { return atan2(x[0], x[1]); },
      [](double a, double b) { return std::atan2(a, b); });
  add_elementwise(
      r, "logaddexp", {all, other}, [](const auto& x) { return logaddexp(x[0], x[1]); },
      [](double a, double b) {
        return a == b ? a + std::log(2) : std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
      });
}

}  // namespace tapestry::detail
