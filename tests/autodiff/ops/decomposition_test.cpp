#include <tapestry/autodiff/ops/decomposition.hpp>

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/matrix_exp.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

using V = Var<double>;

namespace {
V identity(std::int64_t n) {
  Tensor<double> out = empty_tensor<double>({n, n});
  for (std::int64_t i = 0; i < n * n; ++i) out.data()[i] = i % n == i / n ? 1 : 0;
  return V(out);
}
V symmetric(std::int64_t n, unsigned seed) {
  const V a(normal_values({n, n}, seed));
  return a + matmul(a, identity(n), {.transpose_a = true});
}
void check_orthonormal(const V& columns) {
  const std::int64_t k = columns.shape().back();
  check_close(matmul(columns, columns, {.transpose_a = true}),
              broadcast_to(identity(k), matmul(columns, columns, {.transpose_a = true}).shape()), 1e-12);
}
}  // namespace

TEST_CASE("eigh: the parts multiply to the matrix, and the values ascend") {
  for (const std::int64_t n : {0, 1, 2, 5, 40}) {
    const V a = symmetric(n, 1);
    const auto [w, v] = eigh(a);
    check_orthonormal(v);
    check_close(matmul(v * w, v, {.transpose_b = true}), a, 1e-11);
    for (std::int64_t i = 1; i < n; ++i) CHECK(w.data()[i] >= w.data()[i - 1]);
  }
}

TEST_CASE("eigh: values and whole eigenspaces have the right gradient where eigenvalues coincide") {
  V a(Tensor<double>{{2, 0, 0}, {0, 2, 0}, {0, 0, 5}}, true);
  const V g(normal_values({3, 3}, 3));
  const auto [w, v] = eigh(a);
  // The projection p onto the first two vectors: its derivative along d is (p d q + q d p) / (2 - 5) with q = 1 - p.
  const V first(Tensor<double>{1.0, 1.0, 0.0});
  const V y = sum(g * matmul(v * first, v, {.transpose_b = true})) + sum(square(w));
  const V da = grad(y, {a})[0];
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      const double turn = (i == 2) == (j == 2) ? 0 : (g.data()[3 * i + j] + g.data()[3 * j + i]) / 2 / (2 - 5);
      CHECK(da.data()[3 * i + j] == doctest::Approx(2 * a.data()[3 * i + j] + turn).epsilon(1e-12));
    }
}

TEST_CASE("eigh: eigenvalues that differ by rounding alone count as one") {
  int different = 0;
  for (unsigned seed = 1; seed <= 10; ++seed) {
    // A reflection of diag(1, 1, 3).
    const V u(normal_values({3}, seed)), reflection = identity(3) - outer(u, u) * (2.0 / dot(u, u));
    const V a = matmul(reflection * V(Tensor<double>{1, 1, 3}), reflection), g(normal_values({3, 3}, seed + 20));
    const V values = eigh(a).values;
    different += values.data()[0] != values.data()[1];
    const V first(Tensor<double>{1, 1, 0});
    CHECK_NOTHROW(check_gradients(
        [&](const std::vector<V>& x) {
          const V v = eigh(x[0] + transpose(x[0])).vectors;
          return sum(g * matmul(v * first, v, {.transpose_b = true}));
        },
        {a}));
  }
  CHECK(different > 0);
}

TEST_CASE("svd: the parts multiply to the matrix") {
  for (const Shape& shape :
       {Shape{4, 4}, Shape{6, 3}, Shape{3, 6}, Shape{2, 2, 5, 3}, Shape{0, 3}, Shape{1, 1}, Shape{33, 20}}) {
    CAPTURE(to_string(shape));
    const V a(normal_values(shape, 2));
    const auto [u, s, vt] = svd(a);
    check_orthonormal(u);
    Shape rows = s.shape();
    rows.insert(rows.rank() - 1, 1);
    check_close(matmul(u * reshape(s, rows), vt), a, 1e-12);
    for (std::int64_t i = 0; i < s.size(); ++i) CHECK(s.data()[i] >= 0);
  }
  Tensor<double> bad{{1, std::numeric_limits<double>::quiet_NaN()}, {0, 1}};
  CHECK_THROWS_AS(svd(V(bad)), NumericalError);
}

TEST_CASE("svd: the sum of the singular values has the gradient u vt") {
  V a(normal_values({5, 3}, 4), true);
  const auto [u, s, vt] = svd(a);
  check_close(grad(sum(s), {a}, {.retain_graph = true})[0], matmul(u, vt), 1e-12);
}

TEST_CASE("qr: orthonormal columns, an upper triangle with a positive diagonal") {
  for (const Shape& shape : {Shape{4, 4}, Shape{6, 3}, Shape{3, 6}, Shape{2, 5, 3}, Shape{3, 0}}) {
    CAPTURE(to_string(shape));
    const V a(normal_values(shape, 5));
    const auto [q, r] = qr(a);
    check_orthonormal(q);
    check_close(matmul(q, r), a, 1e-12);
    const std::int64_t rows = r.shape()[r.rank() - 2], columns = r.shape().back();
    for (std::int64_t i = 0; i < r.size(); ++i) {
      const std::int64_t row = i / columns % rows, column = i % columns;
      if (row > column) CHECK(r.data()[i] == 0);
      if (row == column) CHECK(r.data()[i] > 0);
    }
  }
}

TEST_CASE("decompositions: errors name shapes") {
  CHECK_THROWS_WITH_AS(eigh(V::zeros({2, 3})), "eigh: the matrices are not square: [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(svd(V::zeros({3})), "svd: matrices are needed, not a shape [3]", ShapeError);
  CHECK_THROWS_AS(qr(V::zeros({3})), ShapeError);
  CHECK_THROWS_AS(matrix_exp(V::zeros({2, 3})), ShapeError);
  CHECK_THROWS_WITH_AS(matrix_exp(V::filled({2, 1, 1}, std::numeric_limits<double>::infinity())),
                       "matrix_exp: matrix 0 (of 2, each [1, 1]) is not finite", NumericalError);
}

TEST_CASE("matrix_exp: at every scale") {
  for (const double scale : {1e-3, 0.1, 0.5, 1.5, 4.0, 30.0}) {
    CAPTURE(scale);
    // A rotation by `scale`, and a nilpotent matrix.
    const V rotation(Tensor<double>{{0, -scale}, {scale, 0}});
    const V expected(Tensor<double>{{std::cos(scale), -std::sin(scale)}, {std::sin(scale), std::cos(scale)}});
    check_close(matrix_exp(rotation), expected, 1e-13);
    const V nilpotent(Tensor<double>{{0, scale, 0}, {0, 0, scale}, {0, 0, 0}});
    const V polynomial(Tensor<double>{{1, scale, scale * scale / 2}, {0, 1, scale}, {0, 0, 1}});
    check_close(matrix_exp(nilpotent), polynomial, 1e-13);
  }
  const Var<float> turn(Tensor<float>{{0, -3}, {3, 0}});
  CHECK(matrix_exp(turn).data()[0] == doctest::Approx(std::cos(3.0)).epsilon(1e-6));
  CHECK(matrix_exp(V::zeros({0, 0})).size() == 0);
}
