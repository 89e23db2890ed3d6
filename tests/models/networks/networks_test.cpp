#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/models/networks/lenet.hpp>
#include <tapestry/models/networks/mlp.hpp>
#include <tapestry/models/networks/perceptron.hpp>
#include <tapestry/models/networks/regression.hpp>
#include <tapestry/models/training/optimizer.hpp>

#include "models/layers/layer_checks.hpp"

using namespace tapestry;

namespace {

/// Points that a line through (1, 0) can part, with a gap.
void clouds(Tensor<double>& x, Tensor<double>& y) {
  Generator g(1);
  x = g.uniform<double>({60, 2}, -1.0, 1.0);
  y = empty_tensor<double>({60});
  for (std::size_t i = 0; i < 60; ++i) {
    y(i) = i % 2 == 0 ? 1 : -1;
    x(i, 0) = 1 + y(i) * (0.1 + std::abs(x(i, 0)));
  }
}

}  // namespace

TEST_CASE("perceptron: both rules part what can be parted, and one step of each is the rule by hand") {
  Tensor<double> x, y;
  clouds(x, y);
  const Var<double> inputs(x), targets(y);
  Perceptron<double> batch(2), incremental(2);
  CHECK(batch.batch_update(inputs, targets, 0.5) == 60);
  double sum0 = 0, sum_bias = 0;
  for (std::size_t i = 0; i < 60; ++i) {
    sum0 += 0.5 * y(i) * x(i, 0);
    sum_bias += 0.5 * y(i);
  }
  CHECK(batch.weight.value()(0) == doctest::Approx(sum0).epsilon(1e-12));
  CHECK(batch.bias.value()(0) == doctest::Approx(sum_bias).epsilon(1e-12));
  int steps = 0;
  while (batch.mistakes(inputs, targets) > 0 && ++steps < 1000) batch.batch_update(inputs, targets, 0.05);
  CHECK(batch.mistakes(inputs, targets) == 0);

  Generator g(2);
  const Var<double> one = slice(inputs, 0, {3, 4});
  CHECK(incremental.incremental_update(one, slice(targets, 0, {3, 4}), g, 0.1) == 1);
  CHECK(incremental.weight.value()(1) == doctest::Approx(0.1 * y(3) * x(3, 1)).epsilon(1e-12));
  int epochs = 0;
  while (incremental.incremental_update(inputs, targets, g) > 0 && ++epochs < 1000) {
  }
  CHECK(epochs < 1000);
  CHECK(incremental.mistakes(inputs, targets) == 0);
  CHECK_THROWS_AS(batch.batch_update(inputs, Var<double>::zeros({60})), NumericalError);
  CHECK_THROWS_AS(batch.mistakes(inputs, Var<double>::ones({59})), ShapeError);
}

TEST_CASE("networks: gradients") {
  Generator g(3);
  const auto x = variable(g.normal<double>({4, 5}));
  Mlp<double> mlp({5, 4, 3}, g, {.activation = Activation::tanh});
  check_layer(mlp, {x}, [&](const auto& in) { return mlp.forward(in[0]); });
  SoftmaxRegression<double> softmax_model(5, 3);
  check_layer(softmax_model, {x}, [&](const auto& in) { return softmax_model.loss(in[0], Indices{0, 2, 1, 1}); });
  LogisticRegression<double> logistic(5);
  const Var<double> targets(Tensor<double>{0, 1, 1, 0.5});
  check_layer(logistic, {x}, [&](const auto& in) { return logistic.loss(in[0], targets); });
  LeNet<double> lenet(1, 16, 3, g, {.first = 2, .second = 3, .hidden = 4});
  check_layer(lenet, {variable(g.normal<double>({2, 1, 16, 16}))},
              [&](const auto& in) { return lenet.forward(in[0]); });
  CHECK(lenet.forward(Var<double>::zeros({3, 1, 16, 16})).shape() == Shape{3, 3});
  CHECK_THROWS_AS(LeNet<double>(1, 12, 3, g), ShapeError);
  CHECK_THROWS_AS(Mlp<double>({5}, g), ShapeError);
}

TEST_CASE("networks: logistic regression's optimum has the moments of the data; softmax of two classes agrees") {
  Tensor<double> x, y;
  clouds(x, y);
  Tensor<double> targets = empty_tensor<double>({60});
  IndexTensor labels = empty_tensor<std::int64_t>({60});
  // A fifth of the targets is turned round, so that an optimum exists.
  for (std::size_t i = 0; i < 60; ++i) {
    labels(i) = (y(i) > 0) != (i % 5 == 0);
    targets(i) = static_cast<double>(labels(i));
  }
  LogisticRegression<double> logistic(2);
  SoftmaxRegression<double> both(2, 2);
  const Var<double> inputs(x);
  for (int step = 0; step < 3000; ++step) {
    zero_gradients(logistic);
    zero_gradients(both);
    logistic.loss(inputs, Var<double>(targets)).backward();
    both.loss(inputs, Indices(labels)).backward();
    for (auto& p : parameters<double>(logistic)) p.mutable_value() -= 1.0 * p.gradient();
    for (auto& p : parameters<double>(both)) p.mutable_value() -= 1.0 * p.gradient();
  }
  const Tensor<double> p = sigmoid(logistic.forward(inputs)).tensor();
  double difference = 0;
  for (std::size_t i = 0; i < 60; ++i) difference += p(i) - targets(i);
  CHECK(std::abs(difference) < 1e-6);
  CHECK(both.loss(inputs, Indices(labels)).item() ==
        doctest::Approx(logistic.loss(inputs, Var<double>(targets)).item()).epsilon(1e-8));
  const IndexTensor guess = predictions(both.forward(inputs));
  for (std::size_t i = 0; i < 60; ++i) CHECK(guess(i) == (p(i) > 0.5));
}
