#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/models/layers/attention.hpp>
#include <tapestry/models/layers/convolution.hpp>
#include <tapestry/models/layers/dropout.hpp>
#include <tapestry/models/layers/embedding.hpp>
#include <tapestry/models/layers/linear.hpp>
#include <tapestry/models/layers/normalization.hpp>
#include <tapestry/models/layers/pooling.hpp>
#include <tapestry/models/layers/sequential.hpp>

#include "models/layers/layer_checks.hpp"

using namespace tapestry;

TEST_CASE("layers: gradients of parameters and inputs") {
  Generator g(1);
  const auto x = [&](const Shape& shape) { return variable(g.normal<double>(shape)); };
  Linear<double> affine(3, 2, g, {.activation = Activation::tanh});
  check_layer(affine, {x({4, 3})}, [&](const auto& in) { return affine.forward(in[0]); });
  Bilinear<double> bilinear(3, 2, 4, g);
  check_layer(bilinear, {x({5, 3}), x({5, 2})}, [&](const auto& in) { return bilinear.forward(in[0], in[1]); });
  Conv1d<double> narrow(4, 6, 3, g, {.stride = 2, .padding = 1, .groups = 2});
  check_layer(narrow, {x({2, 4, 7})}, [&](const auto& in) { return narrow.forward(in[0]); });
  Conv2d<double> wide(2, 3, {3, 2}, g, {.padding = {1, 0}});
  check_layer(wide, {x({2, 2, 4, 5})}, [&](const auto& in) { return wide.forward(in[0]); });
  ConvTranspose1d<double> back(4, 6, 3, g, {.stride = 2, .groups = 2});
  check_layer(back, {x({2, 4, 3})}, [&](const auto& in) { return back.forward(in[0]); });
  ConvTranspose2d<double> up(3, 2, 3, g, {.stride = 2, .padding = 1, .output_padding = 1});
  check_layer(up, {x({2, 3, 3, 4})}, [&](const auto& in) { return up.forward(in[0]); });
  CHECK(up.forward(x({1, 3, 3, 4})).shape() == Shape{1, 2, 6, 8});
  LayerNorm<double> norm({3, 2});
  check_layer(norm, {x({4, 3, 2})}, [&](const auto& in) { return norm.forward(in[0]); });
  BatchNorm<double> batch(3);
  check_layer(batch, {x({4, 3, 2})}, [&](const auto& in) { return batch.forward(in[0]); });
  evaluate(batch);
  check_layer(batch, {x({4, 3, 2})}, [&](const auto& in) { return batch.forward(in[0]); });
  MultiHeadAttention<double> heads(6, 3, g);
  check_layer(heads, {x({2, 4, 6}), x({2, 3, 6})}, [&](const auto& in) {
    return heads.forward(in[0], in[1], in[1], {.lengths = Indices{2, 3}, .causal = true});
  });
  Embedding<double> table(5, 3, g);
  check_layer(table, {}, [&](const auto&) { return table.forward(Indices{4, 0, 4}); });
}

TEST_CASE("layers: values against formulas written out") {
  Generator g(2);
  const Tensor<double> x = g.normal<double>({2, 3}), y = g.normal<double>({2, 4});
  Linear<double> affine(3, 2, g);
  affine.bias.mutable_data()[1] = 0.5;
  const auto out = affine.forward(Var<double>(x));
  Bilinear<double> bilinear(3, 4, 2, g);
  bilinear.bias.mutable_data()[0] = -1;
  const auto product = bilinear.forward(Var<double>(x), Var<double>(y));
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t k = 0; k < 2; ++k) {
      double expected = k == 1 ? 0.5 : 0.0, second = k == 0 ? -1.0 : 0.0;
      for (std::size_t i = 0; i < 3; ++i) {
        expected += x(n, i) * affine.weight.value()(i, k);
        for (std::size_t j = 0; j < 4; ++j) second += x(n, i) * bilinear.weight.value()(k, i, j) * y(n, j);
      }
      CHECK(out.value()(n, k) == doctest::Approx(expected).epsilon(1e-12));
      CHECK(product.value()(n, k) == doctest::Approx(second).epsilon(1e-12));
    }
  CHECK(parameter_count(Linear<float>(3, 2, g, {.bias = false})) == 6);
  CHECK(parameter_count(Conv2d<float>(4, 6, 3, g, {.groups = 2}, {.bias = false})) == 6 * 2 * 9);
  CHECK_THROWS_AS(Conv2d<float>(3, 6, 3, g, {.groups = 2}), ShapeError);
  CHECK_THROWS_AS(MultiHeadAttention<float>(6, 4, g), ShapeError);
}

TEST_CASE("dropout layer: off in evaluation, and a saved state draws the same again") {
  Dropout<double> layer(0.5, Generator(3));
  const auto x = Var<double>::ones({200});
  const Tensor<std::int64_t> state = layer.generator.value;
  const Tensor<double> first = layer.forward(x).tensor(), second = layer.forward(x).tensor();
  CHECK(first != second);
  int zeros = 0;
  for (const double v : first) {
    CHECK((v == 0 || v == 2));
    zeros += v == 0;
  }
  CHECK(std::abs(zeros - 100) < 35);
  layer.generator.value = state;
  CHECK(layer.forward(x).tensor() == first);
  CHECK(layer.forward(x).tensor() == second);
  evaluate(layer);
  CHECK(layer.forward(x).tensor() == x.tensor());
  CHECK_THROWS_AS(Dropout<double>(1.5, Generator(1)), NumericalError);
}

TEST_CASE("batch norm layer: running averages, and evaluation by them") {
  BatchNorm<double> layer(2, 0.25);
  const Tensor<double> x{{1, 10}, {3, 30}, {8, 20}};
  layer.forward(Var<double>(x));
  // Means 4 and 20; variances without bias 13 and 100.
  CHECK(layer.running_mean.value(0) == doctest::Approx(1));
  CHECK(layer.running_mean.value(1) == doctest::Approx(5));
  CHECK(layer.running_variance.value(0) == doctest::Approx(0.75 + 0.25 * 13));
  CHECK(layer.running_variance.value(1) == doctest::Approx(0.75 + 0.25 * 100));
  evaluate(layer);
  const auto y = layer.forward(Var<double>(x));
  CHECK(y.value()(2, 0) == doctest::Approx((8 - 1) / std::sqrt(4 + 1e-5)));
  CHECK(layer.running_mean.value(0) == doctest::Approx(1));
}

TEST_CASE("attention: weights are a softmax over the keys that may be seen") {
  Generator g(4);
  const Tensor<double> q = g.normal<double>({2, 3, 4}), k = g.normal<double>({2, 5, 4}),
                       v = g.normal<double>({2, 5, 2});
  const auto out =
      attention(Var<double>(q), Var<double>(k), Var<double>(v), {.lengths = Indices{0, 4}, .causal = true});
  for (std::size_t b = 0; b < 2; ++b)
    for (std::size_t i = 0; i < 3; ++i)
      for (std::size_t e = 0; e < 2; ++e) {
        double total = 0, expected = 0;
        for (std::size_t j = 0; j < (b == 0 ? 0u : 4u) && j <= i; ++j) {
          double score = 0;
          for (std::size_t d = 0; d < 4; ++d) score += q(b, i, d) * k(b, j, d);
          total += std::exp(score / 2);
          expected += std::exp(score / 2) * v(b, j, e);
        }
        CHECK(out.value()(b, i, e) == doctest::Approx(total > 0 ? expected / total : 0).epsilon(1e-12));
      }
}

TEST_CASE("sequential and residual: layers and functions in order, with names") {
  Generator g(5);
  Sequential net(
      Conv2d<float>(1, 2, 3, g, {.padding = 1}), [](const auto& x) { return relu(x); }, MaxPool2d{2}, Flatten{},
      Residual(Linear<float>(8, 8, g)), Linear<float>(8, 3, g));
  const Var<float> x(g.normal<float>({5, 1, 4, 4}));
  const auto& [conv, rectifier, pool, flat, residual, last] = net.layers;
  const Var<float> inner = flat.forward(pool.forward(rectifier(conv.forward(x))));
  CHECK(net.forward(x).tensor() == last.forward(inner + residual.layer.forward(inner)).tensor());
  const auto named = named_parameters<float>(net);
  REQUIRE(named.size() == 6);
  CHECK(named[0].name == "0.weight");
  CHECK(named[3].name == "4.layer.bias");
}
