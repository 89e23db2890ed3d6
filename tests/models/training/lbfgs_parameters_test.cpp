#include <tapestry/models/training/lbfgs_parameters.hpp>

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/graph/archive.hpp>

using namespace tapestry;

namespace {

// Logistic regression, which has one minimum; the last three features are noise.
struct Regression {
  Var<double> weight = Var<double>::filled({5, 1}, 0.1, true), bias = Var<double>::filled({1}, 0.0, true),
              unused = Var<double>::filled({2}, 3.0, true);
  Var<double> x, y;
  Regression() {
    Generator generator(8);
    x = Var<double>(generator.normal<double>({60, 5}));
    Tensor<double> labels = empty_tensor<double>({60, 1});
    for (std::int64_t i = 0; i < 60; ++i)
      labels.data()[i] = x.data()[5 * i] - 2 * x.data()[5 * i + 1] + generator.normal() > 0.5 ? 1 : 0;
    y = Var<double>(labels);
  }
  void members(Members& m) { m("weight", weight)("bias", bias)("unused", unused); }
  Var<double> loss() const {
    return binary_cross_entropy_with_logits(linear(x, weight, bias), y) + 0.01 * sum(square(weight));
  }
  std::vector<Var<double>> gradient() const { return grad(loss(), {weight, bias}); }
};

}  // namespace

TEST_CASE("minimize_lbfgs: parameters of a module reach the minimum; frozen and unused ones stay") {
  Regression model;
  const auto loss = [&] { return model.loss(); };
  const LbfgsOptions options{.gradient_tolerance = 1e-9, .period = 0};
  const auto result = minimize_lbfgs<double>(model, loss, options);
  CHECK(result.stop == LbfgsStop::converged);
  CHECK(result.value == model.loss().item());
  for (const Var<double>& g : model.gradient())
    for (std::int64_t i = 0; i < g.size(); ++i) CHECK(std::fabs(g.data()[i]) < 1e-8);
  CHECK(model.unused.tensor() == Tensor<double>{3.0, 3.0});
  CHECK_FALSE(model.weight.has_gradient());

  Regression frozen;
  freeze(frozen, "bias");
  minimize_lbfgs<double>(
      frozen, [&] { return frozen.loss(); }, options);
  CHECK(frozen.bias.item() == 0);
  CHECK(frozen.loss().item() > result.value);
  unfreeze(frozen);
  CHECK(std::fabs(frozen.gradient()[0].data()[0]) < 1e-8);
}

TEST_CASE("minimize_lbfgs: OWL-QN on parameters gives exact zeros and the conditions of the minimum") {
  Regression model;
  constexpr double l1 = 0.05;
  minimize_lbfgs<double>(model, [&] { return model.loss(); },
                         {.gradient_tolerance = 1e-9, .period = 0, .l1 = l1, .l1_end = 5});
  const Var<double> g = model.gradient()[0];
  int zeros = 0;
  for (std::int64_t i = 0; i < 5; ++i) {
    const double w = model.weight.data()[i];
    zeros += w == 0;
    if (w == 0)
      CHECK(std::fabs(g.data()[i]) <= l1);
    else
      CHECK(g.data()[i] == doctest::Approx(w > 0 ? -l1 : l1).epsilon(1e-6));
  }
  CHECK(zeros > 0);
  CHECK(zeros < 5);
  // What is frozen has no part in the L1 norm, which would shrink it.
  Regression frozen;
  freeze(frozen, "unused");
  minimize_lbfgs<double>(frozen, [&] { return frozen.loss(); }, {.max_iterations = 20, .l1 = l1});
  CHECK(frozen.unused.tensor() == Tensor<double>{3.0, 3.0});
}

TEST_CASE("minimize_lbfgs: on parameters it goes on from a state, and puts them back where the loss throws") {
  Regression whole, parted;
  const auto run = [](Regression& model, int iterations, LbfgsState& state) {
    minimize_lbfgs<double>(
        model, [&] { return model.loss(); },
        {.max_iterations = iterations, .gradient_tolerance = 1e-9, .period = 0, .restart = 4}, {}, &state);
  };
  LbfgsState one, two;
  run(whole, 9, one);
  run(parted, 6, two);
  CHECK(two.iteration == 4);
  run(parted, 9, two);
  CHECK(whole.weight.tensor() == parted.weight.tensor());

  Regression model;
  int calls = 0;
  const auto failing = [&] {
    if (++calls == 3) throw NumericalError("no");
    return model.loss();
  };
  CHECK_THROWS_AS(minimize_lbfgs<double>(model, failing), NumericalError);
  CHECK(model.weight.tensor() == Regression().weight.tensor());
}
