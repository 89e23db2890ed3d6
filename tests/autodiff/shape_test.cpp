#include <tapestry/autodiff/shape.hpp>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>

using namespace tapestry;

TEST_CASE("shape: broadcasting follows NumPy") {
  CHECK(broadcast("add", {3, 1}, {1, 4}) == Shape{3, 4});
  CHECK(broadcast("add", {}, {2, 3}) == Shape{2, 3});
  CHECK(broadcast("add", {0, 1}, {1, 5}) == Shape{0, 5});
  CHECK_THROWS_WITH_AS(broadcast("add", {2, 3}, {4}), "add: shapes do not broadcast: [2, 3] and [4]", ShapeError);
}

TEST_CASE("shape: axes are normalised and checked") {
  CHECK(normalize_axis("sum", -1, 3) == 2);
  CHECK_THROWS_AS(normalize_axis("sum", 3, 3), ShapeError);
  CHECK_THROWS_AS(axis_mask("sum", {0, -2}, 2), ShapeError);
  CHECK(reduced_shape({2, 3, 4}, axis_mask("sum", {1}, 3), true) == Shape{2, 1, 4});
}
