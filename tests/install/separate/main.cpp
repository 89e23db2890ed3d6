#include <cmath>
#include <cstdio>
#include <iostream>

#include <tapestry/autodiff/configuration.hpp>
#include <tapestry/tapestry.hpp>

int main() {
  std::cout << tapestry::configuration();
  using Var = tapestry::Var<double>;
  Var x(xt::xarray<double>({1.0, 2.0, 3.0}), true);
  tapestry::sum(x * tapestry::tanh(x)).backward();
  const auto gradient = x.gradient();
  for (int i = 0; i < 3; ++i) {
    const double at = i + 1.0, expected = std::tanh(at) + at * (1 - std::tanh(at) * std::tanh(at));
    if (std::abs(gradient(i) - expected) > 1e-14) {
      std::printf("the gradient at %g is %.17g, not %.17g\n", at, gradient(i), expected);
      return 1;
    }
  }
  std::puts("everything agrees");
}
