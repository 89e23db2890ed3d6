#include <tapestry/autodiff/elementwise.hpp>

#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>

using namespace tapestry;

TEST_CASE("elementwise: every function's derivatives") {
  const std::vector<Var<double>> x = {Var<double>(Tensor<double>{0.15, 0.4, 0.85})};
  const auto check = [&](const char* name, auto f) {
    CHECK_NOTHROW_MESSAGE(check_gradients([f](const std::vector<Var<double>>& v) { return elementwise(f, v[0]); }, x,
                                          {.order = 2, .name = name}),
                          name);
  };
  check("powers", [](auto v) { return square(v) + 2 * sqrt(v) - rsqrt(v) * 3 + reciprocal(v) * 5 + pow(v, 2.5); });
  check("exponentials",
        [](auto v) { return exp(v) + 2 * expm1(v * 2) - log(v) * 3 + 5 * log1p(v) + erf(v) + 2 * erfc(v * v); });
  check("activations", [](auto v) {
    return sigmoid(v) + 2 * log_sigmoid(v) - softplus(v * 2) * 3 + 5 * tanh(v) + relu(v) * abs(v - 0.5);
  });
  check("trigonometry", [](auto v) {
    return sin(v) + 2 * cos(v) - 3 * tan(v) + asin(v) * 5 + 7 * acos(v * v) + atan(v * 2) + sinh(v) * cosh(v);
  });
  check("gamma", [](auto v) { return lgamma(v + 1) + digamma(v + 0.5); });
  check("choices", [](auto v) { return maximum(v * v, v * 0.5) + minimum(v * v * v, v * 0.5) * 2; });
  check("quotients", [](auto v) { return (2 - v) / (1.0 / v + 3) - (v - 1) / 4 + -v; });
}
