#include <tapestry/autodiff/ops/matmul.hpp>

#include <cstdint>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
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

// By broadcast multiplication and a sum: [..., m, k, 1] * [..., 1, k, n], summed over k.
V by_broadcasting(const V& a, const V& b) {
  Shape left = a.shape(), right = b.shape();
  left.push_back(1);
  right.insert(right.rank() - 2, 1);
  return sum(reshape(a, left) * reshape(b, right), {-2});
}

}  // namespace

TEST_CASE("matmul: leading axes broadcast, with gradients") {
  const std::vector<std::pair<Shape, Shape>> cases{
      {{3, 4}, {4, 5}},
      {{6, 3, 4}, {4, 5}},
      {{3, 4}, {6, 4, 5}},
      {{6, 3, 4}, {6, 4, 5}},
      {{1, 3, 4}, {6, 4, 5}},
      {{6, 3, 4}, {1, 4, 5}},
      {{2, 6, 3, 4}, {6, 4, 5}},
      {{2, 1, 3, 4}, {1, 6, 4, 5}},
      {{2, 1, 3, 4}, {6, 4, 5}},
      {{2, 3, 2, 1, 4}, {3, 1, 4, 2}},
      {{2, 1, 2, 1, 4}, {1, 3, 1, 4, 1}},
      {{0, 3, 4}, {4, 5}},
      {{2, 0, 4}, {2, 4, 5}},
      {{2, 3, 0}, {2, 0, 5}},
      {{0, 3, 4}, {1, 4, 5}},
      {{1, 1, 1}, {1, 1}},
      {{40, 33, 17}, {17, 50}},
  };
  for (const auto& [a, b] : cases) {
    const std::string shapes = to_string(a) + " x " + to_string(b);
    CAPTURE(shapes);
    const V x(normal_values(a, 1)), y(normal_values(b, 2));
    check_close(matmul(x, y), by_broadcasting(x, y), 1e-13);
    check_fused_backward([](const Vars& v) { return matmul(v[0], v[1]); }, {a, b});
    Vars inputs{V(normal_values(a, 1), true), V(normal_values(b, 2), true)};
    const V seed(normal_values(matmul(x, y).shape(), 5));
    const auto got = grad(matmul(inputs[0], inputs[1]), inputs, seed);
    const auto expected = grad(by_broadcasting(inputs[0], inputs[1]), inputs, seed);
    for (const int i : {0, 1})
      check_close(got[static_cast<std::size_t>(i)], expected[static_cast<std::size_t>(i)], 1e-12);
  }
}

TEST_CASE("matmul: transposed operands, shared and not") {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const auto& [batch_a, batch_b] :
           std::vector<std::pair<Shape, Shape>>{{{}, {}}, {{3}, {}}, {{}, {3}}, {{3}, {3}}, {{2, 1}, {3}}}) {
        Shape a = batch_a, b = batch_b;
        for (const std::int64_t n : {ta ? 4 : 2, ta ? 2 : 4}) a.push_back(n);
        for (const std::int64_t n : {tb ? 5 : 4, tb ? 4 : 5}) b.push_back(n);
        const std::string shapes = to_string(a) + " x " + to_string(b);
        CAPTURE(shapes);
        const MatmulOptions options{.transpose_a = ta, .transpose_b = tb};
        check_fused_backward([&](const Vars& v) { return matmul(v[0], v[1], options); }, {a, b});
        CHECK_NOTHROW(check_gradients([&](const Vars& v) { return matmul(v[0], v[1], options); },
                                      {V(normal_values(a, 1)), V(normal_values(b, 2))},
                                      {.order = 2, .directions = 1, .name = "matmul"}));
      }
}

TEST_CASE("matmul: vectors lose their axis") {
  const V m(normal_values({2, 3, 4}, 1)), row(normal_values({3}, 2)), column(normal_values({4}, 3));
  CHECK(matmul(m, column).shape() == Shape{2, 3});
  CHECK(matmul(row, m).shape() == Shape{2, 4});
  CHECK(matmul(column, column).shape() == Shape{});
  CHECK(matmul(column, m, {.transpose_a = true, .transpose_b = true}).shape() == Shape{2, 3});
  check_close(matmul(column, m, {.transpose_b = true}), matmul(m, column), 1e-14);
  check_fused_backward([](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 3, 4}, {4}});
  check_fused_backward([](const Vars& v) { return matmul(v[0], v[1]); }, {{3}, {2, 3, 4}});
  check_fused_backward([](const Vars& v) { return matmul(v[0], v[1]); }, {{3}, {3}});
}

TEST_CASE("matmul: both operands the same variable") {
  check_fused_backward([](const Vars& v) { return matmul(v[0], v[0]); }, {{4, 4}});
  check_fused_backward([](const Vars& v) { return matmul(v[0], v[0], {.transpose_b = true}); }, {{3, 2, 5}});
}

TEST_CASE("matmul: the same bits with one thread and two") {
  const auto run = [] {
    V a(normal_values({3, 70, 300}, 1), true), b(normal_values({300, 200}, 2), true);
    const V y = matmul(a, b);
    return std::pair(y.tensor(), grad(y, {a, b}, y)[1].tensor());
  };
  const int before = threads();
  set_threads(1);
  const auto one = run();
  set_threads(2);
  const auto two = run();
  set_threads(before);
  CHECK(one.first == two.first);
  CHECK(one.second == two.second);
}

TEST_CASE("matmul: errors name the operation and both shapes") {
  const V a = V::zeros({128, 784}), b = V::zeros({512, 10});
  CHECK_THROWS_WITH_AS(matmul(a, b), "matmul: inner dimensions differ: [128, 784] x [512, 10]", ShapeError);
  CHECK_THROWS_WITH_AS(matmul(a, b, {.transpose_b = true}), "matmul: inner dimensions differ: [128, 784] x [512, 10]^T",
                       ShapeError);
  CHECK_THROWS_WITH_AS(matmul(V::zeros({2, 3, 4}), V::zeros({5, 4, 1})),
                       "matmul: leading axes do not broadcast: [2, 3, 4] x [5, 4, 1]", ShapeError);
  CHECK_THROWS_WITH_AS(matmul(V(1.0), a), "matmul: an operand has no axis: [] x [128, 784]", ShapeError);
  CHECK_THROWS_AS(dot(V::zeros({3}), V::zeros({4})), ShapeError);
  CHECK_THROWS_AS(dot(V::zeros({3, 1}), V::zeros({3, 1})), ShapeError);
}
