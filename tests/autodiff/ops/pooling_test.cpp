#include <tapestry/autodiff/ops/pooling.hpp>

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("pooling: the fused backward is the rule, with any number of leading axes") {
  check_fused_backward([](const Vars& v) { return max_pool1d(v[0], 3, {.stride = 2}); }, {{9}});
  check_fused_backward([](const Vars& v) { return max_pool2d(v[0], 2); }, {{3, 2, 7, 40}});
  check_fused_backward([](const Vars& v) { return max_pool2d(v[0], {3, 4}, {.stride = 1, .padding = 1}); }, {{5, 6}});
  check_fused_backward(
      [](const Vars& v) {
        return avg_pool2d(v[0], {3, 4}, {.stride = 1, .padding = 1});
      },
      {{2, 5, 6}});
  check_fused_backward([](const Vars& v) { return avg_pool1d(v[0], 2); }, {{2, 1, 1, 5}});
  check_fused_backward([](const Vars& v) { return adaptive_max_pool2d(v[0], {2, 5}); }, {{3, 5, 7}});
  check_fused_backward([](const Vars& v) { return adaptive_avg_pool2d(v[0], {7, 9}); }, {{3, 5, 7}});
  check_fused_backward([](const Vars& v) { return max_pool2d(v[0], 2); }, {{0, 4, 4}});
  check_fused_backward([](const Vars& v) { return avg_pool2d(v[0], 2); }, {{0, 4, 4}});
}

TEST_CASE("pooling: places of maxima, and back again") {
  const V x(Tensor<double>{{{1, 5, 2, 0}, {3, 4, -1, 7}, {0, 0, 9, 8}, {2, 1, 9, 6}}});
  const auto pooled = max_pool2d_with_indices(x, 2);
  CHECK(pooled.value.tensor() == Tensor<double>{{{5, 7}, {2, 9}}});
  CHECK(pooled.indices.tensor() == IndexTensor{{{1, 7}, {12, 10}}});
  const V back = max_unpool2d(pooled.value, pooled.indices, 4);
  CHECK(back.tensor() == Tensor<double>{{{0, 5, 0, 0}, {0, 0, 0, 7}, {0, 0, 9, 0}, {2, 0, 0, 0}}});
  const auto row = max_pool1d_with_indices(V(Tensor<double>{1, 1, 3, 2, 2}), 3, {.stride = 1});
  CHECK(row.indices.tensor() == IndexTensor{2, 2, 2});
}

TEST_CASE("pooling: the first of equal elements gets the gradient, also in 2 x 2 windows") {
  for (const bool general : {false, true}) {
    V x(Tensor<double>{{1, 1, 0, 2}, {1, 1, 2, 2}}, true);
    const Pool2dOptions options{.padding = general ? HeightWidth(0, 1) : HeightWidth(0)};
    sum(max_pool2d(x, 2, options)).backward();
    if (general)
      CHECK(Tensor<double>(x.gradient()) == Tensor<double>{{1, 0, 0, 1}, {0, 0, 1, 0}});
    else
      CHECK(Tensor<double>(x.gradient()) == Tensor<double>{{1, 0, 0, 1}, {0, 0, 0, 0}});
  }
}

TEST_CASE("pooling: infinities, and NaN wins") {
  for (const Pool1dOptions& options : {Pool1dOptions{}, Pool1dOptions{.stride = 1}}) {
    CHECK(max_pool1d(V(Tensor<double>{-inf, -inf}), 2, options).data()[0] == -inf);
    CHECK(max_pool1d(V(Tensor<double>{3, inf}), 2, options).data()[0] == inf);
    CHECK(std::isnan(max_pool1d(V(Tensor<double>{inf, nan_value}), 2, options).data()[0]));
    CHECK(std::isnan(max_pool1d(V(Tensor<double>{nan_value, inf}), 2, options).data()[0]));
  }
  const auto square = max_pool2d_with_indices(V(Tensor<double>{{1, nan_value}, {nan_value, 5}}), 2);
  CHECK(std::isnan(square.value.data()[0]));
  CHECK(square.indices[0] == 1);
}

TEST_CASE("pooling: an average counts padding or not") {
  const V x(Tensor<double>{2, 4, 6});
  CHECK(avg_pool1d(x, 2, {.stride = 2, .padding = 1}).tensor() == Tensor<double>{1, 5});
  CHECK(avg_pool1d(x, 2, {.stride = 2, .padding = 1, .count_padding = false}).tensor() == Tensor<double>{2, 5});
  // A last window that lies in the padding altogether is left out.
  CHECK(avg_pool1d(V(Tensor<double>{2, 4}), 2, {.stride = 3, .padding = 1}).shape() == Shape{1});
}

TEST_CASE("pooling: what does not fit is named") {
  const V x(normal_values({2, 3, 4}, 1));
  CHECK_THROWS_WITH_AS(max_pool2d(x, 5), "max_pool2d: a window of 5 is larger than the padded x [2, 3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(max_pool1d(x, 0), "max_pool1d: a window of 0 and a stride of 0 for x [2, 3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(avg_pool2d(x, 2, {.padding = 2}),
                       "avg_pool2d: a padding of 2 is not within 0 and half a window of 2", ShapeError);
  CHECK_THROWS_WITH_AS(avg_pool2d(V(normal_values({3}, 1)), 2), "avg_pool2d: x needs at least 2 axes, not [3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(adaptive_avg_pool1d(x, 0), "adaptive_avg_pool1d: 0 windows for x [2, 3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(adaptive_max_pool2d(V(normal_values({2, 0, 3}, 1)), 1),
                       "adaptive_max_pool2d: x [2, 0, 3] has no elements to pool", ShapeError);
  CHECK_THROWS_WITH_AS(max_unpool1d(V(normal_values({2}, 1)), Indices{0, 1, 2}, 4),
                       "max_unpool1d: x [2] and indices [3] differ in shape", ShapeError);
  CHECK_THROWS_WITH_AS(max_unpool1d(V(normal_values({2}, 1)), Indices{0, 4}, 4),
                       "max_unpool1d: index 4 at element 1 of indices [2] is outside a plane of 4 elements",
                       IndexError);
}

TEST_CASE_TEMPLATE("pooling: 2 x 2 windows of every width, with ties and NaN", T, float, double) {
  std::uint32_t state = 7;
  for (const std::int64_t height : {2, 5})
    for (std::int64_t width = 2; width < 70; ++width) {
      Tensor<T> x = empty_tensor<T>({2, height, width});
      for (std::int64_t i = 0; i < 2 * height * width; ++i) {
        state = state * 1664525u + 1013904223u;
        const int drawn = static_cast<int>(state >> 24) % 12;
        x.data()[i] = drawn == 0 ? static_cast<T>(nan_value) : drawn == 1 ? -static_cast<T>(inf) : T(drawn - 6);
      }
      const auto pooled = max_pool2d_with_indices(Var<T>(x), 2);
      int wrong = 0;
      for (std::int64_t plane = 0; plane < 2; ++plane)
        for (std::int64_t i = 0; i < height / 2; ++i)
          for (std::int64_t j = 0; j < width / 2; ++j) {
            const T* const from = x.data() + plane * height * width;
            std::int64_t best = 2 * i * width + 2 * j;
            for (const std::int64_t at : {best + 1, best + width, best + width + 1})
              if (from[at] > from[best] || (std::isnan(from[at]) && !std::isnan(from[best]))) best = at;
            const std::int64_t to = (plane * (height / 2) + i) * (width / 2) + j;
            const T value = pooled.value.data()[to];
            wrong += pooled.indices[to] != best || !(value == from[best] || std::isnan(from[best])) ||
                     std::isnan(value) != std::isnan(from[best]);
          }
      INFO("width " << width);
      CHECK(wrong == 0);
    }
}
