#include <tapestry/autodiff/ops/indexing.hpp>

#include <cmath>
#include <limits>
#include <random>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

#include "autodiff/ops/compare.hpp"

using namespace tapestry;

using V = Var<double>;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

V random(const Shape& shape, unsigned seed, bool requires_grad = false) {
  return V(testing::normal_values(shape, seed), requires_grad);
}

IndexTensor random_indices(const Shape& shape, std::int64_t extent, unsigned seed) {
  std::mt19937_64 bits(seed);
  IndexTensor out = empty_tensor<std::int64_t>(shape);
  for (std::int64_t& i : out) i = static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(extent));
  return out;
}

}  // namespace

TEST_CASE("indexing: indices out of range name operation, value, position and shape, and change nothing") {
  const V x = random({4, 3}, 1, true);
  const IndexTensor bad = {{0, 3}, {4, 1}};
  CHECK_THROWS_WITH_AS(take(x, bad), "take: index 4 at position [1, 0] is outside axis 0 of shape [4, 3]", IndexError);
  CHECK_THROWS_WITH_AS(embedding(x, {0, -1}), "embedding: index -1 at position [1] is outside axis 0 of shape [4, 3]",
                       IndexError);
  CHECK_THROWS_WITH_AS(one_hot<double>({2, 3}, 3), "one_hot: index 3 at position [1] is outside axis 1 of shape [2, 3]",
                       IndexError);
  CHECK_THROWS_AS(index_select(x, 1, {3}), IndexError);
  CHECK_THROWS_AS(segment_sum(x, {0, 1, 2, 3}, 3), IndexError);
  CHECK_THROWS_AS(scatter_add(x, {4}, V::zeros({1, 3})), IndexError);
  CHECK_THROWS_AS(take_along_axis(x, IndexTensor{{0, 0, 3}}, 1), IndexError);
  CHECK_THROWS_AS(put_along_axis(x, IndexTensor{{0, 0, 4}}, V::zeros({1, 3}), 0), IndexError);
  CHECK_THROWS_AS(scatter_add_along_axis(x, IndexTensor{{0, 0, -1}}, V::zeros({1, 3}), 0), IndexError);
  sum(x).backward();
  CHECK(x.gradient()(3, 2) == 1);
}

TEST_CASE("indexing: shapes that do not fit") {
  const V x = random({4, 3}, 1);
  CHECK_THROWS_WITH_AS(scatter_add(x, {0, 1}, V::zeros({2, 2})),
                       "scatter_add: values have shape [2, 2] instead of [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(segment_sum(x, {0, 1}, 2), "segment_sum: segment ids have shape [2] for axis 0 of shape [4, 3]",
                       ShapeError);
  CHECK_THROWS_AS(take(x, {0}, 2), ShapeError);
  CHECK_THROWS_AS(index_select(x, 0, IndexTensor{{0, 1}}), ShapeError);
  CHECK_THROWS_AS(take_along_axis(x, {0}, 0), ShapeError);
  CHECK_THROWS_AS(take_along_axis(x, IndexTensor{{0, 0}}, 0), ShapeError);
  CHECK_THROWS_AS(put_along_axis(x, IndexTensor{{0, 0, 0}}, V::zeros({2, 3}), 0), ShapeError);
  CHECK_THROWS_AS(embedding(V(1.0), {0}), ShapeError);
  CHECK_THROWS_AS(one_hot<double>({}, -1), ShapeError);
}

TEST_CASE("indexing: empty indices and scalars") {
  const V x = random({4, 3}, 1, true);
  const IndexTensor none = empty_tensor<std::int64_t>({0, 2});
  CHECK(take(x, none, 1).shape() == Shape{4, 0, 2});
  CHECK(take(x, IndexTensor(2), 0).shape() == Shape{3});
  CHECK(segment_sum(V::zeros({0, 3}), none.shape(0) == 0 ? Indices(empty_tensor<std::int64_t>({0})) : Indices(), 2)
            .tensor() == Tensor<double>{{0, 0, 0}, {0, 0, 0}});
  sum(embedding(x, none)).backward();
  CHECK(xt::sum(xt::abs(x.gradient()))() == 0);
  CHECK(one_hot<double>(none, 3).shape() == Shape{0, 2, 3});
  CHECK(one_hot<double>({2, 0}, 3).tensor() == Tensor<double>{{0, 0, 1}, {1, 0, 0}});
}

TEST_CASE("indexing: large gathers and their gradients against loops") {
  for (const auto& [outer, n, inner, m] : {std::tuple{1, 50, 700, 90}, {300, 40, 1, 200}, {7, 30, 33, 300}}) {
    const V x = random({outer, n, inner}, 1, true), g = random({outer, m, inner}, 2);
    const Indices indices(random_indices({m}, n, 3));
    const V y = take(x, indices, 1);
    sum(y * g).backward();
    Tensor<double> expected = empty_tensor<double>(x.shape());
    expected.fill(0);
    std::int64_t wrong = 0;
    for (int o = 0; o < outer; ++o)
      for (int k = 0; k < m; ++k)
        for (int i = 0; i < inner; ++i) {
          wrong += y.value()(o, k, i) != x.value()(o, indices[k], i);
          expected(o, indices[k], i) += g.value()(o, k, i);
        }
    CHECK(wrong == 0);
    CHECK(xt::amax(xt::abs(x.gradient() - expected))() < 1e-12);
    CHECK(segment_sum(g, indices, n, 1).tensor() == expected);
  }
}

TEST_CASE("indexing: embeddings keep their gradient by rows") {
  V table = random({100, 4}, 1, true);
  const V g = random({2, 3, 4}, 2);
  const Indices tokens(IndexTensor{{7, 3, 7}, {0, 99, 7}});
  sum(embedding(table, tokens) * g).backward();
  auto sparse = table.sparse_gradient();
  REQUIRE(sparse.has_value());
  CHECK(sparse->rows.size() == 6);
  CHECK(sparse->values.size() == 24);

  // A second pass accumulates, still by rows.
  sum(2.0 * embedding(table, {3})).backward();
  sparse = table.sparse_gradient();
  REQUIRE(sparse.has_value());
  CHECK(sparse->rows.size() == 7);

  // The dense gradient is that of take().
  V dense = V(table.tensor(), true);
  (sum(take(dense, tokens) * g) + sum(2.0 * take(dense, {3}))).backward();
  CHECK(xt::amax(xt::abs(table.gradient() - dense.gradient()))() < 1e-14);
}

TEST_CASE("indexing: a table used by rows and as a whole, in either order") {
  for (const bool rows_first : {false, true}) {
    V table = V::filled({5, 2}, 1.0, true);
    const V rows = sum(embedding(table, {1, 1})), whole = 3.0 * sum(table);
    (rows_first ? rows + whole : whole + rows).backward();
    CHECK_FALSE(table.sparse_gradient().has_value());
    CHECK(table.gradient()(1, 0) == 5);
    CHECK(table.gradient()(0, 1) == 3);
    rows_first ? sum(embedding(table, {0})).backward() : sum(table).backward();
    CHECK(table.gradient()(0, 0) == 4);
  }
  // By rows in one pass, as a whole in those after it.
  V table = V::filled({5, 2}, 1.0, true);
  sum(embedding(table, {1})).backward();
  for (int pass = 0; pass < 2; ++pass) sum(table).backward();
  CHECK(table.gradient()(1, 0) == 3);
  CHECK(table.gradient()(0, 0) == 2);
  // A table that is itself computed.
  V base = V::filled({5, 2}, 1.0, true);
  sum(embedding(2.0 * base, {1, 1, 4})).backward();
  CHECK(base.gradient()(1, 0) == 4);
  CHECK(base.gradient()(4, 1) == 2);
  CHECK(base.gradient()(0, 0) == 0);
}

TEST_CASE("indexing: take_along_axis broadcasts the other axes") {
  const V x = random({3, 1, 4}, 1, true);
  IndexTensor indices = {3, 0};
  indices.reshape({1, 2, 1});
  const V y = take_along_axis(x, indices, -1);
  REQUIRE(y.shape() == Shape{3, 2, 1});
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(y.value()(i, 0, 0) == x.value()(i, 0, 3));
    CHECK(y.value()(i, 1, 0) == x.value()(i, 0, 0));
  }
  sum(y).backward();
  CHECK(x.gradient()(2, 0, 3) == 1);
  CHECK(x.gradient()(2, 0, 1) == 0);
}

TEST_CASE("indexing: of several values put into one place the last one counts, and gets the gradient") {
  V x = V::filled({1, 3}, 0.0, true), values(Tensor<double>{{1, 2, 3}}, true);
  const V y = put_along_axis(x, IndexTensor{{1, 0, 1}}, values, 1);
  CHECK(y.tensor() == Tensor<double>{{2, 3, 0}});
  sum(y * V(Tensor<double>{{10, 20, inf}})).backward();
  CHECK(values.gradient()(0, 0) == 0);
  CHECK(values.gradient()(0, 1) == 10);
  CHECK(values.gradient()(0, 2) == 20);
  CHECK(x.gradient()(0, 0) == 0);
  CHECK(x.gradient()(0, 2) == inf);
}

TEST_CASE("indexing: second-order gradients through an embedding") {
  const Function<double> f = [](const std::vector<V>& x) { return exp(embedding(x[0], {2, 0, 2})) * x[1]; };
  CHECK_NOTHROW(check_gradients(f, {random({3, 2}, 1), random({3, 2}, 2)}, {.order = 2}));
}
