#include <tapestry/autodiff/ops/sparse.hpp>

#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/threads.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

using V = Var<double>;
using Vars = std::vector<V>;

namespace {
Tensor<double> sparse_values(const Shape& shape, double density, unsigned seed) {
  Tensor<double> out = normal_values(shape, seed);
  const Tensor<double> keep = normal_values(shape, seed + 100);
  for (std::size_t i = 0; i < out.size(); ++i)
    if (std::abs(keep.data()[i]) > density) out.data()[i] = 0;
  return out;
}
}  // namespace

TEST_CASE("sparse: products and gradients are those of the dense matrix") {
  for (const Shape& shape : {Shape{3, 4}, Shape{1, 1}, Shape{60, 45}, Shape{0, 3}, Shape{3, 0}})
    for (const std::int64_t k : {1, 3, 40})
      for (const bool transpose : {false, true}) {
        CAPTURE(to_string(shape));
        const Tensor<double> values = sparse_values(shape, 0.4, 1);
        const auto a = CsrMatrix<double>::from_dense(values, true);
        V dense(values, true), x(normal_values({transpose ? shape[0] : shape[1], k}, 2), true);
        check_close(a.to_dense(), dense, 1e-15);
        const V y = matmul(a, x, transpose), expected = matmul(dense, x, {.transpose_a = transpose});
        check_close(y, expected, 1e-13);
        const V seed(normal_values(y.shape(), 3));
        const auto g = grad(y, {a.values, x}, seed), h = grad(expected, {dense, x}, seed);
        check_close(g[1], h[1], 1e-12);
        const CsrMatrix<double> back(a.rows, a.columns, a.row_starts, a.column_indices, g[0]);
        const V full = back.to_dense();
        for (std::int64_t i = 0; i < full.size(); ++i)
          CHECK(full.data()[i] == doctest::Approx(values.data()[i] == 0 ? 0 : h[0].data()[i]).epsilon(1e-12));
      }
}

TEST_CASE("sparse: the fused backward is the rule") {
  const Indices starts{0, 2, 2, 5}, columns{1, 1, 3, 0, 2};
  for (const bool transpose : {false, true})
    for (const std::int64_t k : {1, 20})
      check_fused_backward(
          [&](const Vars& v) { return matmul(CsrMatrix<double>(3, 4, starts, columns, v[0]), v[1], transpose); },
          {{5}, {transpose ? 3 : 4, k}});
}

TEST_CASE("sparse: the same bits with one thread and two") {
  const auto run = [] {
    const auto a = CsrMatrix<double>::from_dense(sparse_values({700, 500}, 0.2, 1), true);
    V x(normal_values({500, 9}, 2), true);
    const V y = matmul(a, x);
    return grad(y, {x}, y)[0].tensor();
  };
  const int before = threads();
  set_threads(1);
  const Tensor<double> one = run();
  set_threads(2);
  CHECK(one == run());
  set_threads(before);
}

TEST_CASE("sparse: errors") {
  const V values = V::zeros({2});
  CHECK_THROWS_WITH_AS(CsrMatrix<double>(2, 3, Indices{0, 1, 2}, Indices{0, 3}, values),
                       "CsrMatrix: column 3 of element 1 is outside the matrix [2, 3]", IndexError);
  CHECK_THROWS_WITH_AS(CsrMatrix<double>(2, 3, Indices{0, 2}, Indices{0, 1}, values),
                       "CsrMatrix: row_starts of shape [2] for 2 rows", ShapeError);
  CHECK_THROWS_WITH_AS(CsrMatrix<double>(2, 3, Indices{0, 2, 1}, Indices{0, 1}, values),
                       "CsrMatrix: row_starts decreases at row 1", ShapeError);
  CHECK_THROWS_WITH_AS(CsrMatrix<double>(2, 3, Indices{0, 1, 1}, Indices{0, 1}, values),
                       "CsrMatrix: row_starts goes from 0 to 1, not from 0 to 2", ShapeError);
  CHECK_THROWS_AS(CsrMatrix<double>(2, 3, Indices{0, 1, 2}, Indices{0}, values), ShapeError);
  const CsrMatrix<double> a(2, 3, Indices{0, 1, 2}, Indices{0, 1}, values);
  CHECK_THROWS_WITH_AS(matmul(a, V::zeros({4, 1})), "sparse_matmul: inner dimensions differ: [2, 3] x [4, 1]",
                       ShapeError);
  CHECK_THROWS_AS(matmul(a, V::zeros({3}), true), ShapeError);
}
