#include <tapestry/models/layers/convolution.hpp>

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>

using namespace tapestry;

namespace {

// The layer's value is the operation's with its weight, bias and options; its weight starts within the limit of its
// fans; without a bias there is none.
template <class Layer, class F>
void check(Layer& layer, const Shape& weight, const Shape& x_shape, double fans, F operation) {
  REQUIRE(layer.weight.shape() == weight);
  const double limit = std::sqrt(6.0 / fans);
  double largest = 0;
  for (std::int64_t i = 0; i < layer.weight.size(); ++i) largest = std::max(largest, std::abs(layer.weight.data()[i]));
  CHECK(largest < limit);
  CHECK(largest > 0.8 * limit);
  Generator g(3);
  layer.bias.assign(g.normal<double>(layer.bias.shape()));
  const Var<double> x(g.normal<double>(x_shape));
  const Tensor<double> with = layer.forward(x).tensor();
  CHECK(with == operation(x, layer.weight, layer.bias, layer.options).tensor());
  const Var<double> bias = layer.bias;
  layer.bias = Var<double>();
  CHECK(layer.forward(x).tensor() ==
        operation(x, layer.weight, Var<double>::zeros(bias.shape()), layer.options).tensor());
}

}  // namespace

TEST_CASE("convolution layers: values are the operations', weights have their fans' size") {
  Generator g(1);
  const FilterOptions xavier{.weight = initializers::xavier_uniform()};
  Conv1d<double> a(8, 12, 3, g, {.stride = 2, .padding = 1, .groups = 4}, xavier);
  check(a, {12, 2, 3}, {2, 8, 9}, 2 * 3 + 3 * 3, [](auto x, auto w, auto b, auto o) { return conv1d(x, w, b, o); });
  Conv2d<double> b(6, 4, {3, 5}, g, {.padding = {1, 2}, .groups = 2}, xavier);
  check(b, {4, 3, 3, 5}, {2, 6, 4, 6}, 3 * 15 + 2 * 15,
        [](auto x, auto w, auto v, auto o) { return conv2d(x, w, v, o); });
  ConvTranspose1d<double> c(8, 12, 3, g, {.stride = 2, .groups = 4}, xavier);
  check(c, {8, 3, 3}, {2, 8, 5}, 2 * 3 + 3 * 3,
        [](auto x, auto w, auto v, auto o) { return conv_transpose1d(x, w, v, o); });
  ConvTranspose2d<double> d(6, 4, {3, 5}, g, {.stride = 2, .groups = 2}, xavier);
  check(d, {6, 2, 3, 5}, {2, 6, 4, 3}, 3 * 15 + 2 * 15,
        [](auto x, auto w, auto v, auto o) { return conv_transpose2d(x, w, v, o); });
  const Conv2d<double> plain(2, 3, 3, g, {}, {.bias = false});
  CHECK_FALSE(plain.bias.defined());
}

TEST_CASE("convolution layers: channels that do not fall into groups are refused by the layer's name") {
  Generator g(1);
  CHECK_THROWS_WITH_AS(Conv1d<double>(3, 4, 3, g, {.groups = 2}), "Conv1d: 3 channels do not fall into 2 groups",
                       ShapeError);
  CHECK_THROWS_WITH_AS(Conv2d<double>(4, 5, 3, g, {.groups = 2}), "Conv2d: 5 channels do not fall into 2 groups",
                       ShapeError);
  CHECK_THROWS_WITH_AS(ConvTranspose1d<double>(3, 4, 3, g, {.groups = 2}),
                       "ConvTranspose1d: 3 channels do not fall into 2 groups", ShapeError);
  CHECK_THROWS_WITH_AS(ConvTranspose2d<double>(4, 4, 3, g, {.groups = 0}),
                       "ConvTranspose2d: 4 channels do not fall into 0 groups", ShapeError);
}
