#include <tapestry/autodiff/ops/sorting.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

TEST_CASE("sorting: equal elements keep their order both ways") {
  const V x(Tensor<double>{2, 1, 2, 1});
  CHECK(argsort(x) == IndexTensor{1, 3, 0, 2});
  CHECK(argsort(x, 0, true) == IndexTensor{0, 2, 1, 3});
  CHECK(top_k(x, 3).indices.tensor() == IndexTensor{0, 2, 1});
  CHECK(top_k(x, 3, 0, false).indices.tensor() == IndexTensor{1, 3, 0});
}

TEST_CASE("sorting: NaN is the largest, infinities are in order") {
  const double inf = std::numeric_limits<double>::infinity();
  const V x(Tensor<double>{std::nan(""), inf, 0, -inf, std::nan("")});
  CHECK(argsort(x) == IndexTensor{3, 2, 1, 0, 4});
  CHECK(argsort(x, 0, true) == IndexTensor{0, 4, 1, 2, 3});
}

TEST_CASE("sorting: along any axis, against the standard library") {
  std::mt19937_64 bits(1);
  Tensor<double> values = empty_tensor<double>({7, 50, 9});
  for (double& value : values) value = static_cast<double>(bits() % 1000);
  V x(values, true);
  const V y = sort(x, 1);
  const TopK<double> best = top_k(x, 5, 1);
  REQUIRE(best.values.shape() == Shape{7, 5, 9});
  for (std::size_t i = 0; i < 7; ++i)
    for (std::size_t j = 0; j < 9; ++j) {
      std::vector<double> column;
      for (std::size_t k = 0; k < 50; ++k) column.push_back(values(i, k, j));
      std::sort(column.begin(), column.end());
      for (std::size_t k = 0; k < 50; ++k) CHECK(y.value()(i, k, j) == column[k]);
      for (std::size_t k = 0; k < 5; ++k) {
        CHECK(best.values.value()(i, k, j) == column[49 - k]);
        CHECK(values(i, static_cast<std::size_t>(best.indices.tensor()(i, k, j)), j) == column[49 - k]);
      }
    }
  // The gradient goes to where an element came from.
  Tensor<double> weights = empty_tensor<double>({7, 50, 9});
  std::iota(weights.begin(), weights.end(), 0.0);
  sum(y * V(weights)).backward();
  const IndexTensor order = argsort(x, 1);
  for (std::size_t k = 0; k < 50; ++k)
    CHECK(x.gradient()(3, static_cast<std::size_t>(order(3, k, 4)), 4) == weights(3, k, 4));
}

TEST_CASE("sorting: empty and impossible") {
  CHECK(sort(V::zeros({0})).shape() == Shape{0});
  CHECK(sort(V::zeros({3, 0}), 0).shape() == Shape{3, 0});
  CHECK(top_k(V::zeros({3}), 0).values.shape() == Shape{0});
  CHECK_THROWS_WITH_AS(top_k(V::zeros({3}), 4), "top_k: 4 elements of axis -1 of shape [3]", ShapeError);
  CHECK_THROWS_AS(sort(V(1.0)), ShapeError);
}
