#include <tapestry/autodiff/ops/cholesky.hpp>

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/determinant.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/solve.hpp>
#include <tapestry/autodiff/registry.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

using V = Var<double>;
using Vars = std::vector<V>;

namespace {
// (Cholesky, of a positive definite function of its argument.)
V definite(const V& x) {
  const std::int64_t n = x.shape().back();
  Tensor<double> shift = empty_tensor<double>({n, n});
  for (std::int64_t i = 0; i < n * n; ++i) shift.data()[i] = i % n == i / n ? static_cast<double>(n) : 0;
  return matmul(x, x, {.transpose_b = true}) + V(shift);
}
}  // namespace

TEST_CASE("cholesky: the fused backward is the rule, in blocks and within one, diagonal gradient or not") {
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 3}, Shape{2, 5, 5}, Shape{64, 64}, Shape{65, 65}, Shape{150, 150},
                             Shape{0, 0}, Shape{0, 3, 3}}) {
    CAPTURE(to_string(shape));
    check_fused_backward([](const Vars& v) { return cholesky(definite(v[0])); }, {shape}, 1e-10);
    check_fused_backward([](const Vars& v) { return logdet_spd(definite(v[0])); }, {shape}, 1e-10);
  }
}

TEST_CASE("cholesky: log-determinants by the diagonal, the direct way, and LU agree with their gradients") {
  for (const std::int64_t n : {1, 7, 130}) {
    V x(normal_values({n, n}, 3), true);
    const V s = definite(x), l = cholesky(s);
    check_close(matmul(l, l, {.transpose_b = true}), s, 1e-12);
    Tensor<double> mask = empty_tensor<double>({n, n});
    for (std::int64_t i = 0; i < n * n; ++i) mask.data()[i] = i % n == i / n ? 1 : 0;
    // Off the diagonal log(0 + 1): the gradient of the factor is diagonal.
    const V by_diagonal = 2.0 * sum(log(l * V(mask) + (1.0 - V(mask))) * V(mask));
    const V direct = logdet_spd(s), by_lu = logdet(s);
    check_close(by_diagonal, by_lu, 1e-12);
    check_close(direct, by_lu, 1e-12);
    const V expected = grad(by_lu, {x}, {.retain_graph = true})[0];
    check_close(grad(by_diagonal, {x}, {.retain_graph = true})[0], expected, 1e-10);
    check_close(grad(direct, {x}, {.retain_graph = true})[0], expected, 1e-10);
  }
}

TEST_CASE("cholesky: gradients are symmetric, and only the lower triangle is read") {
  V s(Tensor<double>{{4, 99}, {2, 3}}, true);
  const V l = cholesky(s);
  CHECK(l.data()[0] == 2);
  CHECK(l.data()[1] == 0);
  CHECK(l.data()[2] == 1);
  CHECK(l.data()[3] == doctest::Approx(std::sqrt(2.0)));
  const V g = grad(sum(l), {s})[0];
  CHECK(g.data()[1] == g.data()[2]);
}

TEST_CASE("cholesky: blocks read the lower triangle only, leave zeros above it, and count minors from the start") {
  const std::int64_t n = 150;
  Tensor<double> s = empty_tensor<double>({n, n});
  const V x(normal_values({n, n}, 3));
  const V clean = definite(x);
  for (std::int64_t i = 0; i < n * n; ++i)
    s.data()[i] = i % n > i / n ? std::numeric_limits<double>::quiet_NaN() : clean.data()[i];
  const V l = cholesky(V(s));
  bool zeros = true;
  for (std::int64_t i = 0; i < n * n; ++i) zeros = zeros && (i % n <= i / n || l.data()[i] == 0);
  CHECK(zeros);
  check_close(matmul(l, l, {.transpose_b = true}), clean, 1e-12);
  s.data()[100 * n + 100] = -1;
  CHECK_THROWS_WITH_AS(cholesky(V(s)),
                       "cholesky: the matrix [150, 150] is not positive definite: its leading minor of order 101",
                       NumericalError);
}

TEST_CASE("cholesky: errors name the matrix and the leading minor") {
  const V bad(Tensor<double>{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, {{1, 0, 0}, {0, 1, 2}, {0, 2, 1}}});
  CHECK_THROWS_WITH_AS(cholesky(bad),
                       "cholesky: matrix 1 (of 2, each [3, 3]) is not positive definite: its leading minor of order 3",
                       NumericalError);
  CHECK_THROWS_WITH_AS(logdet_spd(V::filled({1, 1}, -1.0)),
                       "logdet_spd: the matrix [1, 1] is not positive definite: its leading minor of order 1",
                       NumericalError);
  CHECK_THROWS_AS(cholesky(V::filled({2, 2}, std::numeric_limits<double>::quiet_NaN())), NumericalError);
  CHECK_THROWS_WITH_AS(cholesky(V::zeros({2, 3})), "cholesky: the matrices are not square: [2, 3]", ShapeError);
}

TEST_CASE("determinant: signs, singular matrices") {
  const V a(Tensor<double>{{{0, 1}, {1, 0}}, {{2, 0}, {0, 3}}, {{1, 2}, {2, 4}}});
  const auto [sign, log_abs] = slogdet(a);
  CHECK(sign.tensor() == Tensor<double>{-1.0, 1.0, 0.0});
  CHECK(log_abs.data()[0] == 0);
  CHECK(log_abs.data()[1] == doctest::Approx(std::log(6.0)));
  CHECK(log_abs.data()[2] == -std::numeric_limits<double>::infinity());
  CHECK_THROWS_WITH_AS(logdet(a), "logdet: matrix 0 (of 3, each [2, 2]) has a negative determinant", NumericalError);
  V singular(Tensor<double>{{1, 2}, {2, 4}}, true);
  const V y = slogdet(singular).logabsdet;
  CHECK_THROWS_WITH_AS(
      grad(y, {singular}),
      "slogdet: the matrix [2, 2] is singular: after row exchanges its leading minor of order 2 is zero",
      NumericalError);
  CHECK(slogdet(V::zeros({3, 0, 0})).sign.tensor() == Tensor<double>{1.0, 1.0, 1.0});
  check_fused_backward([](const Vars& v) { return slogdet(definite(v[0])).logabsdet; }, {{2, 4, 4}}, 1e-11);
}

TEST_CASE("solve: the fused backward is the rule; leading axes broadcast; vectors") {
  const auto lower = [](const V& x) { return cholesky(definite(x)); };
  for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{{{4, 4}, {4, 3}},
                                                                 {{4, 4}, {4}},
                                                                 {{2, 4, 4}, {4}},
                                                                 {{2, 4, 4}, {4, 3}},
                                                                 {{4, 4}, {2, 4, 3}},
                                                                 {{2, 1, 3, 3}, {2, 3, 1}},
                                                                 {{0, 3, 3}, {0, 3, 2}},
                                                                 {{0, 0}, {0, 2}}}) {
    const std::string shapes = to_string(a) + " and " + to_string(b);
    CAPTURE(shapes);
    check_fused_backward([](const Vars& v) { return solve(definite(v[0]), v[1]); }, {a, b}, 1e-11);
    for (const bool upper : {false, true})
      for (const bool transpose : {false, true})
        check_fused_backward(
            [&](const Vars& v) {
              return triangular_solve(lower(v[0]) + 0.1 * definite(v[0]), v[1],
                                      {.upper = upper, .transpose = transpose});
            },
            {a, b}, 1e-11);
  }
  const V a(normal_values({5, 5}, 1)), b(normal_values({5, 2}, 2));
  check_close(matmul(a, solve(a, b)), b, 1e-11);
  check_close(solve(a, b), matmul(inverse(a), b), 1e-11);
}

TEST_CASE("solve: errors") {
  const V singular(Tensor<double>{{1, 2}, {2, 4}});
  CHECK_THROWS_WITH_AS(solve(singular, V::zeros({2})),
                       "solve: the matrix [2, 2] is singular: after row exchanges its leading minor of order 2 is zero",
                       NumericalError);
  CHECK_THROWS_AS(inverse(singular), NumericalError);
  CHECK_THROWS_WITH_AS(triangular_solve(V(Tensor<double>{{1, 0}, {5, 0}}), V::zeros({2})),
                       "triangular_solve: the matrix [2, 2] is singular: element 1 of its diagonal is zero",
                       NumericalError);
  CHECK_THROWS_WITH_AS(solve(V::zeros({3, 3}), V::zeros({2})), "solve: [3, 3] does not fit a right side [2]",
                       ShapeError);
  CHECK_THROWS_AS(solve(V::zeros({3, 2}), V::zeros({3})), ShapeError);
}
