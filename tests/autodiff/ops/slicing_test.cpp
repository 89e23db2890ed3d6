#include <tapestry/autodiff/ops/slicing.hpp>

#include <numeric>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

namespace {

V counted(const Shape& shape, bool requires_grad = false) {
  Tensor<double> x = empty_tensor<double>(shape);
  std::iota(x.begin(), x.end(), 0.0);
  return V(std::move(x), requires_grad);
}

}  // namespace

TEST_CASE("slicing: starts, stops and steps as in Python") {
  const V x = counted({5});
  const auto values = [&](Slice s) {
    const V y = slice(x, 0, s);
    return std::vector<double>(y.data(), y.data() + y.size());
  };
  CHECK(values({}) == std::vector<double>{0, 1, 2, 3, 4});
  CHECK(values({1, 4}) == std::vector<double>{1, 2, 3});
  CHECK(values({-2}) == std::vector<double>{3, 4});
  CHECK(values({Slice::whole, Slice::whole, 2}) == std::vector<double>{0, 2, 4});
  CHECK(values({Slice::whole, Slice::whole, -2}) == std::vector<double>{4, 2, 0});
  CHECK(values({3, 0, -2}) == std::vector<double>{3, 1});
  CHECK(values({.start = 3, .step = -1}) == std::vector<double>{3, 2, 1, 0});
  CHECK(values({3, 3}).empty());
  CHECK(values({4, 1}).empty());
  CHECK(values({5, 5}).empty());
  CHECK_THROWS_WITH_AS(slice(x, 0, {0, 6}), "slice: position 6 along axis 0 of shape [5]", IndexError);
  CHECK_THROWS_AS(slice(x, 0, {-6}), IndexError);
  CHECK_THROWS_AS(slice(x, 0, {5, 0, -1}), IndexError);
  CHECK_THROWS_AS(slice(x, 0, {0, 1, 0}), ShapeError);
  CHECK_THROWS_AS(slice(x, {{}, {}}), ShapeError);
}

TEST_CASE("slicing: empty and size-one tensors") {
  const V none = V::filled({0, 3}, 0.0, true);
  CHECK(slice(none, {{}, {1}}).shape() == Shape{0, 2});
  CHECK(transpose(none).shape() == Shape{3, 0});
  CHECK(flip(none).shape() == Shape{0, 3});
  CHECK(pad(none, {{1, 1}, {0, 0}}, 2).value()(1, 2) == 2);
  CHECK(diagonal(none).shape() == Shape{0});
  CHECK(diagonal(counted({2, 3}), 5).shape() == Shape{0});
  CHECK(diag_embed(V::zeros({0})).shape() == Shape{0, 0});
  CHECK(unbind(none, 0).empty());
  sum(slice(none, {{}, {1}})).backward();
  CHECK(none.gradient().size() == 0);
  CHECK(transpose(V(3.0)).item() == 3);
  CHECK(flip(V(3.0)).item() == 3);
}

TEST_CASE("slicing: errors name operation, argument and shape") {
  const V x = counted({2, 3});
  CHECK_THROWS_WITH_AS(select(x, 1, 3), "select: index 3 along axis 1 of shape [2, 3]", IndexError);
  CHECK_THROWS_WITH_AS(transpose(x, {0, 0}), "transpose: axis 0 of shape [2, 3] is listed twice", ShapeError);
  CHECK_THROWS_WITH_AS(transpose(x, {0}), "transpose: 1 axes for shape [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(split(x, {1, 1}, 1), "split: extents add up to 2 along axis 1 of shape [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(chunk(x, 2, 1), "chunk: axis 1 of shape [2, 3] does not divide into 2 parts", ShapeError);
  CHECK_THROWS_AS(pad(x, {{1, 1}}), ShapeError);
  CHECK_THROWS_AS(pad(x, {{1, 1}, {-1, 0}}), ShapeError);
  CHECK_THROWS_AS(diagonal(x, 0, 1, -1), ShapeError);
  CHECK_THROWS_AS(trace(V::zeros({3})), ShapeError);
}

TEST_CASE("slicing: gradients reach the places in view, also through several uses") {
  const V x = counted({4, 3}, true);
  (sum(slice(x, 0, {1, 3})) + 2.0 * sum(select(x, 0, 1)) + 5.0 * sum(x)).backward();
  for (std::size_t j = 0; j < 3; ++j) {
    CHECK(x.gradient()(0, j) == 5);
    CHECK(x.gradient()(1, j) == 8);
    CHECK(x.gradient()(2, j) == 6);
  }
}

TEST_CASE("slicing: backward through all steps of a sequence allocates one gradient, not one a step") {
  constexpr std::int64_t steps = 400;
  const V x = V::filled({4, steps, 64}, 1.0, true);
  V total(0.0);
  for (const V& step : unbind(x, 1)) total = total + sum(step);
  const std::size_t before = memory_statistics().in_use;
  reset_peak_memory();
  total.backward();
  const std::size_t whole = static_cast<std::size_t>(x.size()) * sizeof(double);
  CHECK(memory_statistics().peak - before < 2 * whole);
  CHECK(x.gradient()(3, steps - 1, 63) == 1);
}

TEST_CASE("slicing: large transpositions, in one piece or over threads") {
  for (const Shape& shape : {Shape{67, 131}, Shape{300, 257}, Shape{3, 65, 130}, Shape{33, 2, 40, 5}}) {
    const V x = counted(shape, true);
    Axes order;
    for (int i = shape.rank() - 1; i >= 0; --i) order.push_back(i);
    const V y = transpose(x);
    // Element by element: position in x from the reversed position in y.
    std::vector<std::int64_t> at(shape.size(), 0);
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < y.size(); ++i) {
      std::int64_t from = 0;
      for (int k = 0; k < shape.rank(); ++k)
        from = from * shape[k] + at[shape.size() - 1 - static_cast<std::size_t>(k)];
      wrong += y.data()[i] != static_cast<double>(from);
      for (int k = shape.rank() - 1; k >= 0; --k) {
        if (++at[static_cast<std::size_t>(k)] < y.shape()[k]) break;
        at[static_cast<std::size_t>(k)] = 0;
      }
    }
    CHECK(wrong == 0);
    sum(y * y).backward();
    for (std::int64_t i = 0; i < x.size(); ++i) wrong += x.gradient().data()[i] != 2.0 * static_cast<double>(i);
    CHECK(wrong == 0);
  }
}

TEST_CASE("slicing: permutations that keep the order share memory") {
  const V x = counted({1, 3, 1, 4});
  CHECK(transpose(x, {1, 0, 3, 2}).data() == x.data());
  CHECK(transpose(x, {3, 1, 0, 2}).data() != x.data());
  CHECK(transpose(x, {3, 1, 0, 2}).shape() == Shape{4, 3, 1, 1});
}
