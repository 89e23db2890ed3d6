#include <tapestry/autodiff/ops/convolution.hpp>

#include <cstdint>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/threads.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;
using Int = std::int64_t;

V naive_conv2d(const V& x, const V& w, const Conv2dOptions& o) {
  const Shape &a = x.shape(), &b = w.shape();
  const Shape y{a[0], b[0], (a[2] + 2 * o.padding.height - o.dilation.height * (b[2] - 1) - 1) / o.stride.height + 1,
                (a[3] + 2 * o.padding.width - o.dilation.width * (b[3] - 1) - 1) / o.stride.width + 1};
  Tensor<double> out = empty_tensor<double>(y);
  Int place = 0;
  for (Int n = 0; n < y[0]; ++n)
    for (Int k = 0; k < y[1]; ++k)
      for (Int h = 0; h < y[2]; ++h)
        for (Int v = 0; v < y[3]; ++v) {
          double sum = 0;
          for (Int c = 0; c < b[1]; ++c)
            for (Int i = 0; i < b[2]; ++i)
              for (Int j = 0; j < b[3]; ++j) {
                const Int row = h * o.stride.height + i * o.dilation.height - o.padding.height;
                const Int column = v * o.stride.width + j * o.dilation.width - o.padding.width;
                if (row < 0 || row >= a[2] || column < 0 || column >= a[3]) continue;
                const Int channel = k / (b[0] / o.groups) * b[1] + c;
                sum += x.data()[((n * a[1] + channel) * a[2] + row) * a[3] + column] *
                       w.data()[((k * b[1] + c) * b[2] + i) * b[3] + j];
              }
          out.data()[place++] = sum;
        }
  return V(out);
}

double inner(const V& a, const V& b) {
  return sum(a * b).item();
}

struct Case {
  Shape x, w;
  Conv2dOptions options;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
      {{2, 3, 9, 8}, {5, 3, 3, 3}, {}},
      {{3, 2, 9, 8}, {70, 2, 3, 2}, {.padding = 1}},
      {{2, 70, 5, 5}, {3, 70, 5, 5}, {.padding = 2}},
      {{2, 6, 9, 8}, {9, 2, 3, 3}, {.stride = 2, .padding = {2, 1}, .groups = 3}},
      {{2, 4, 9, 11}, {4, 1, 3, 3}, {.stride = {1, 3}, .padding = {0, 2}, .dilation = {2, 3}, .groups = 4}},
      {{2, 2, 13, 12}, {33, 2, 1, 1}, {.stride = 3}},
      {{9, 1, 15, 15}, {20, 1, 5, 5}, {}},
      {{0, 2, 4, 4}, {3, 2, 2, 2}, {}},
  };
  return all;
}

}  // namespace

TEST_CASE("convolution: values are those of plain loops, gradients transpose them") {
  for (const Case& k : cases()) {
    CAPTURE(to_string(k.x) + " * " + to_string(k.w));
    Vars v{V(normal_values(k.x, 1), true), V(normal_values(k.w, 2), true)};
    const V y = conv2d(v[0], v[1], k.options);
    check_close(y, naive_conv2d(v[0], v[1], k.options), 1e-12);
    // Both gradients are linear in the other array: <seed, x * w> three ways.
    const V seed(normal_values(y.shape(), 3)), dx(normal_values(k.x, 4)), dw(normal_values(k.w, 5));
    const auto g = grad(y, v, seed, {.retain_graph = true});
    CHECK(inner(g[0], dx) == doctest::Approx(inner(seed, naive_conv2d(dx, v[1], k.options))).epsilon(1e-11).scale(1));
    CHECK(inner(g[1], dw) == doctest::Approx(inner(seed, naive_conv2d(v[0], dw, k.options))).epsilon(1e-11).scale(1));
    const auto f = [&](const Vars& u) { return conv2d(u[0], u[1], u[2], k.options); };
    check_fused_backward(f, {k.x, k.w, Shape{k.w[0]}}, 1e-11);
    check_close(f({v[0], v[1], V(Tensor<double>(xt::ones<double>({static_cast<std::size_t>(k.w[0])})))}), y + 1.0,
                1e-12);
  }
}

TEST_CASE("convolution: one axis is a convolution of height one") {
  const V x(normal_values({3, 4, 20}, 1)), w(normal_values({6, 2, 5}, 2)), b(normal_values({6}, 3));
  const auto image = [](const V& v) { return reshape(v, Shape{v.shape()[0], v.shape()[1], 1, v.shape()[2]}); };
  const V y = conv1d(x, w, b, {.stride = 2, .padding = 3, .dilation = 2, .groups = 2});
  check_close(image(y),
              conv2d(image(x), image(w), b, {.stride = {1, 2}, .padding = {0, 3}, .dilation = {1, 2}, .groups = 2}),
              1e-14);
  check_fused_backward([](const Vars& v) { return conv1d(v[0], v[1], v[2], {.stride = 2}); },
                       {{3, 4, 20}, {5, 4, 3}, {5}});
}

TEST_CASE("convolution: the transposed one is the gradient of the other") {
  for (const Case& k : cases()) {
    CAPTURE(to_string(k.x) + " * " + to_string(k.w));
    Vars x{V(normal_values(k.x, 1), true)};
    const V w(normal_values(k.w, 2)), y = conv2d(x[0], w, k.options), seed(normal_values(y.shape(), 3));
    const auto rest = [](Int size, Int padding, Int dilation, Int kernel, Int stride) {
      return (size + 2 * padding - dilation * (kernel - 1) - 1) % stride;
    };
    const ConvTranspose2dOptions options{
        k.options.stride,
        k.options.padding,
        k.options.dilation,
        k.options.groups,
        {rest(k.x[2], k.options.padding.height, k.options.dilation.height, k.w[2], k.options.stride.height),
         rest(k.x[3], k.options.padding.width, k.options.dilation.width, k.w[3], k.options.stride.width)}};
    const V transposed = conv_transpose2d(seed, w, options);
    check_close(transposed, grad(y, x, seed)[0], 1e-12);
    const auto f = [&](const Vars& u) { return conv_transpose2d(u[0], u[1], u[2], options); };
    check_fused_backward(f, {y.shape(), k.w, Shape{k.x[1]}}, 1e-11);
    check_close(f({seed, w, V(Tensor<double>(xt::ones<double>({static_cast<std::size_t>(k.x[1])})))}), transposed + 1.0,
                1e-12);
  }
  check_fused_backward(
      [](const Vars& v) { return conv_transpose1d(v[0], v[1], v[2], {.stride = 3, .output_padding = 2}); },
      {{3, 4, 20}, {4, 5, 3}, {5}});
}

TEST_CASE("convolution: the same bits with any number of threads") {
  const int before = threads();
  std::vector<Tensor<float>> results[2];
  for (const int count : {1, 3}) {
    set_threads(count);
    std::vector<Var<float>> v{Var<float>(normal_values<float>({12, 8, 20, 20}, 1), true),
                              Var<float>(normal_values<float>({16, 8, 5, 5}, 2), true)};
    const Var<float> y = conv2d(v[0], v[1], {.padding = 2});
    auto& out = results[count == 1 ? 0 : 1];
    out.push_back(y.tensor());
    for (const auto& g : grad(y, v, Var<float>(normal_values<float>(y.shape(), 3)))) out.push_back(g.tensor());
  }
  set_threads(before);
  for (std::size_t i = 0; i < 3; ++i) CHECK(results[0][i] == results[1][i]);
}

TEST_CASE("convolution: shapes that do not fit are named") {
  const V x(normal_values({2, 3, 8, 8}, 1)), w(normal_values({4, 3, 3, 3}, 2)), b(normal_values({3}, 3));
  CHECK_THROWS_WITH_AS(conv2d(x, V(normal_values({4, 2, 3, 3}, 1))),
                       "conv2d: x [2, 3, 8, 8] has 3 channels, the weight [4, 2, 3, 3] takes 2", ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, w, b), "conv2d: a bias of shape [3] does not fit 4 outputs", ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, w, {.groups = 2}),
                       "conv2d: 2 groups do not divide the channels of x [2, 3, 8, 8] and weight [4, 3, 3, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, w, {.dilation = 4}),
                       "conv2d: the filter of weight [4, 3, 3, 3] is larger than the padded x [2, 3, 8, 8]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(conv1d(x, w), "conv1d: x must be [batch, channels, width], not [2, 3, 8, 8]", ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, V(normal_values({4, 3, 0, 3}, 1))),
                       "conv2d: the weight [4, 3, 0, 3] has an empty filter", ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, b), "conv2d: the weight needs 4 axes, not those of [3]", ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, w, {.stride = 0}), "conv2d: a stride of 0 is less than 1", ShapeError);
  CHECK_THROWS_WITH_AS(conv2d(x, w, {.padding = {0, -1}}), "conv2d: a padding of -1 is negative", ShapeError);
  CHECK_THROWS_WITH_AS(conv_transpose2d(x, w),
                       "conv_transpose2d: x [2, 3, 8, 8] has 3 channels, the weight [4, 3, 3, 3] takes 4", ShapeError);
  CHECK_THROWS_WITH_AS(conv_transpose2d(x, V(normal_values({3, 1, 2, 2}, 1)), {.stride = 2, .output_padding = 2}),
                       "conv_transpose2d: the output padding must be at least 0 and less than the stride", ShapeError);
  CHECK_THROWS_WITH_AS(
      conv_transpose2d(x, V(normal_values({3, 1, 2, 2}, 1)), {.padding = 5}),
      "conv_transpose2d: the padding cuts off all of the result of x [2, 3, 8, 8] and weight [3, 1, 2, 2]", ShapeError);
}
