#include <cmath>

#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/register.hpp>

namespace tapestry::detail {
namespace {

template <class F>
auto elementwise_reference(F f) {
  return [f](const std::vector<Tensor<double>>& x) {
    Tensor<double> out = x[0];
    for (double& value : out) value = f(value);
    return out;
  };
}

}  // namespace

void register_elementary(Registry& r) {
  const auto all = uniform_example({2, 9}, -3, 3), positive = uniform_example({2, 9}, 0.1, 3);
  const auto away = distinct_example({3, 5});
#define TAPESTRY_REGISTER(name, domain, value)                                 \
  r.add(#name, {domain}, [](const auto& x) { return name(x[0]); }).reference = \
      elementwise_reference([](double x) { return value; })
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
  TAPESTRY_REGISTER(relu, away, std::max(x, 0.0));
  TAPESTRY_REGISTER(softplus, all, std::log1p(std::exp(x)));
  TAPESTRY_REGISTER(abs, away, std::abs(x));
  TAPESTRY_REGISTER(sign, away, x > 0 ? 1.0 : -1.0);
  TAPESTRY_REGISTER(floor, away, std::floor(x));
  TAPESTRY_REGISTER(round, away, std::nearbyint(x));
#undef TAPESTRY_REGISTER
}

}  // namespace tapestry::detail
