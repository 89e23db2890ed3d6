#include <tapestry/models/training/optimizer.hpp>

#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

namespace {

// The gradient at step t, the same for both elements but for the sign.
double gradient_at(int t) {
  return 0.5 + 0.25 * t;
}

void set_gradient(Var<double>& x, int t) {
  x.set_gradient(Tensor<double>{gradient_at(t), -gradient_at(t)});
}

}  // namespace

TEST_CASE("optimizer: momentum and Nesterov steps by their recurrences") {
  for (const bool nesterov : {false, true}) {
    Var<double> x(Tensor<double>{1.0, -1.0}, true);
    Sgd<double> sgd({x}, {.rate = 0.1, .momentum = 0.9, .nesterov = nesterov, .weight_decay = 0.01});
    double expected = 1, velocity = 0;
    for (int t = 1; t <= 5; ++t) {
      set_gradient(x, t);
      sgd.step();
      const double g = gradient_at(t) + 0.01 * expected;
      velocity = 0.9 * velocity + g;
      expected -= 0.1 * (nesterov ? g + 0.9 * velocity : velocity);
      CHECK(x.value()(0) == doctest::Approx(expected).epsilon(1e-14));
      CHECK(x.value()(1) == doctest::Approx(-expected).epsilon(1e-14));
    }
  }
}

TEST_CASE("optimizer: Adam and AdamW by their recurrences") {
  for (const bool decoupled : {false, true}) {
    Var<double> x(Tensor<double>{1.0, -1.0}, true);
    Adam<double> adam({x}, {.rate = 0.1, .weight_decay = 0.05, .decoupled = decoupled});
    double expected = 1, mean = 0, variance = 0;
    for (int t = 1; t <= 5; ++t) {
      set_gradient(x, t);
      adam.step();
      const double g = gradient_at(t) + (decoupled ? 0 : 0.05 * expected);
      if (decoupled) expected *= 1 - 0.1 * 0.05;
      mean = 0.9 * mean + 0.1 * g;
      variance = 0.999 * variance + 0.001 * g * g;
      expected -= 0.1 * (mean / (1 - std::pow(0.9, t))) / (std::sqrt(variance / (1 - std::pow(0.999, t))) + 1e-8);
      CHECK(x.value()(0) == doctest::Approx(expected).epsilon(1e-12));
    }
  }
}

TEST_CASE("optimizer: minimises, leaves what has no gradient, refuses bad options") {
  Var<double> x(Tensor<double>{3.0, -2.0}, true), unused(Tensor<double>{7.0}, true);
  Adam<double> adam({x, unused}, {.rate = 0.1});
  for (int i = 0; i < 500; ++i) {
    adam.zero_gradients();
    sum(square(x - Var<double>(Tensor<double>{1.0, 2.0}))).backward();
    adam.step();
  }
  CHECK(x.value()(0) == doctest::Approx(1).epsilon(1e-3));
  CHECK(unused.value()(0) == 7);
  CHECK_THROWS_AS(Sgd<double>({x}, {.rate = -1}), Error);
  CHECK_THROWS_AS(Sgd<double>({x * x}, {.rate = 1}), GraphError);
  CHECK_THROWS_AS(Adam<double>({x}, {.beta1 = 1}), Error);
}
