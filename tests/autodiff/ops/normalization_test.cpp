#include <tapestry/autodiff/ops/normalization.hpp>

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/threads.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;

// All three results, each weighted differently.
V weighted(const BatchNormResult<double>& y) {
  return sum(y.value * V(normal_values(y.value.shape(), 21))) + sum(y.mean * V(normal_values(y.mean.shape(), 22))) +
         sum(y.variance * V(normal_values(y.variance.shape(), 23)));
}

}  // namespace

TEST_CASE("normalization: the fused backward is the rule, for long and short rows") {
  for (const Shape& x : {Shape{1, 1}, Shape{3, 5}, Shape{2, 3, 70}, Shape{300, 130}, Shape{0, 4}}) {
    const Shape last{x.back()};
    check_fused_backward([](const Vars& v) { return layer_norm(v[0], v[1], v[2], 0.1); }, {x, last, last}, 1e-11);
  }
  check_fused_backward([](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {{4, 2, 3}, {2, 3}, {2, 3}}, 1e-11);
  for (const Shape& x :
       {Shape{1, 2}, Shape{5, 3}, Shape{9000, 9}, Shape{4, 3, 70}, Shape{3, 2, 5, 7}, Shape{3, 2, 1}}) {
    const Shape channels{x[1]};
    check_fused_backward([](const Vars& v) { return weighted(batch_norm(v[0], v[1], v[2], 0.1)); },
                         {x, channels, channels}, 1e-9);
    check_fused_backward([](const Vars& v) { return batch_norm(v[0], v[1], v[2], 0.1).value; }, {x, channels, channels},
                         1e-10);
  }
}

TEST_CASE("normalization: an infinite element makes its channel's mean infinite and its variance not a number") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  for (const Shape& shape : {Shape{5, 3}, Shape{9000, 9}, Shape{4, 3, 70}}) {
    const std::int64_t channels = shape[1], inner = shape.elements() / (shape[0] * channels);
    for (const std::int64_t sample : {std::int64_t{0}, shape[0] - 1})
      for (const double value : {inf, -inf}) {
        Tensor<double> x = normal_values(shape, 3);
        x.data()[(sample * channels + 1) * inner] = value;
        const auto y = batch_norm(V(x), V::ones({channels}), V::zeros({channels}));
        for (std::int64_t k = 0; k < channels; ++k) {
          CHECK((k == 1 ? y.mean.data()[k] == value : std::abs(y.mean.data()[k]) < 2));
          CHECK(std::isnan(y.variance.data()[k]) == (k == 1));
          CHECK(std::isnan(y.value.data()[k * inner]) == (k == 1));
        }
      }
  }
}

TEST_CASE("normalization: a mean far from zero costs no accuracy") {
  const Tensor<float> noise = normal_values<float>({4000, 4}, 1);
  const Var<float> x(Tensor<float>(noise + 1000.0f)), one = Var<float>::ones({4}), zero = Var<float>::zeros({4});
  const auto y = batch_norm(x, one, zero);
  for (int c = 0; c < 4; ++c) {
    double mean = 0, variance = 0;
    for (int i = 0; i < 4000; ++i) mean += static_cast<double>(x.data()[4 * i + c]) / 4000;
    for (int i = 0; i < 4000; ++i) variance += std::pow(static_cast<double>(x.data()[4 * i + c]) - mean, 2) / 4000;
    CHECK(static_cast<double>(y.mean.data()[c]) == doctest::Approx(mean).epsilon(1e-6));
    CHECK(static_cast<double>(y.variance.data()[c]) == doctest::Approx(variance).epsilon(1e-4));
    CHECK(static_cast<double>(y.value.data()[c]) ==
          doctest::Approx((static_cast<double>(x.data()[c]) - mean) / std::sqrt(variance + 1e-5)).epsilon(1e-3));
  }
}

TEST_CASE("normalization: evaluation with a batch's own statistics gives the batch's values") {
  const V x(normal_values({6, 3, 4}, 1)), weight(normal_values({3}, 2)), bias(normal_values({3}, 3));
  const auto y = batch_norm(x, weight, bias);
  check_close(batch_norm_with(x, y.mean, y.variance, weight, bias), y.value, 1e-13);
}

TEST_CASE("normalization: running statistics follow the batches") {
  const Tensor<double> x{{1, 10}, {2, 20}, {6, 30}};
  const auto batch = batch_norm(V(x), V::ones({2}), V::zeros({2}));
  Tensor<double> mean{0, 100}, variance{1, 1};
  update_running_statistics(mean, variance, batch, 0.25);
  CHECK(mean.data()[0] == doctest::Approx(0.25 * 3).epsilon(1e-15));
  CHECK(mean.data()[1] == doctest::Approx(75 + 0.25 * 20).epsilon(1e-15));
  CHECK(variance.data()[0] == doctest::Approx(0.75 + 0.25 * 7).epsilon(1e-15));
  CHECK(variance.data()[1] == doctest::Approx(0.75 + 0.25 * 100).epsilon(1e-15));
  update_running_statistics(mean, variance, batch, 1);
  CHECK(mean.data()[0] == doctest::Approx(3).epsilon(1e-15));
  const auto alone = batch_norm(V(Tensor<double>{{4, 5}}), V::ones({2}), V::zeros({2}));
  update_running_statistics(mean, variance, alone, 1);
  CHECK(variance == Tensor<double>{0, 0});
  Tensor<double> three{1, 2, 3};
  CHECK_THROWS_WITH_AS(update_running_statistics(three, variance, batch),
                       "update_running_statistics: mean [3] and variance [2] must have the batch's [2]", ShapeError);
  CHECK_THROWS_WITH_AS(update_running_statistics(mean, variance, batch, 1.5),
                       "update_running_statistics: the momentum 1.5 is not within 0 and 1", NumericalError);
}

TEST_CASE("normalization: the same bits with any number of threads") {
  const int before = threads();
  std::vector<Tensor<float>> results[2];
  for (const int count : {1, 3}) {
    set_threads(count);
    auto& out = results[count == 1 ? 0 : 1];
    for (const bool layer : {false, true})
      for (const Shape& shape : {Shape{700, 300}, Shape{9, 300, 31}}) {
        const Shape channels{layer ? shape.back() : shape[1]};
        std::vector<Var<float>> v{Var<float>(normal_values<float>(shape, 1), true),
                                  Var<float>(normal_values<float>(channels, 2), true),
                                  Var<float>(normal_values<float>(channels, 3), true)};
        const Var<float> y = layer ? layer_norm(v[0], v[1], v[2]) : batch_norm(v[0], v[1], v[2]).value;
        out.push_back(y.tensor());
        for (const auto& g : grad(y, v, Var<float>(normal_values<float>(shape, 4)))) out.push_back(g.tensor());
      }
  }
  set_threads(before);
  for (std::size_t i = 0; i < results[0].size(); ++i) CHECK(results[0][i] == results[1][i]);
}

TEST_CASE("normalization: what does not fit is named") {
  const V x(normal_values({2, 3, 4}, 1)), three(normal_values({3}, 1)), four(normal_values({4}, 1));
  CHECK_THROWS_WITH_AS(layer_norm(x, three, three), "layer_norm: weight [3] does not fit the last axes of x [2, 3, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(layer_norm(x, four, three), "layer_norm: weight [4] and bias [3] differ", ShapeError);
  CHECK_THROWS_WITH_AS(batch_norm(x, three, four), "batch_norm: bias [4] does not fit the channels of x [2, 3, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(batch_norm(three, three, three), "batch_norm: x must be [batch, channels, ...], not [3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(batch_norm(V(normal_values({0, 3}, 1)), three, three),
                       "batch_norm: x [0, 3] has nothing to average", ShapeError);
  CHECK_THROWS_WITH_AS(batch_norm_with(x, four, three, three, three),
                       "batch_norm_with: mean [4] does not fit the channels of x [2, 3, 4]", ShapeError);
}
