#include <tapestry/autodiff/ops/joining.hpp>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

TEST_CASE("joining: concatenate and stack along every axis") {
  const V a(Tensor<double>{{1, 2}, {3, 4}}), b(Tensor<double>{{5, 6}, {7, 8}});
  CHECK(concatenate({a, b}).tensor() == Tensor<double>{{1, 2}, {3, 4}, {5, 6}, {7, 8}});
  CHECK(concatenate({a, b}, -1).tensor() == Tensor<double>{{1, 2, 5, 6}, {3, 4, 7, 8}});
  CHECK(stack({a, b}).tensor() == Tensor<double>{{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}});
  CHECK(stack({a, b}, 1).tensor() == Tensor<double>{{{1, 2}, {5, 6}}, {{3, 4}, {7, 8}}});
  CHECK(stack({a, b}, -1).tensor() == Tensor<double>{{{1, 5}, {2, 6}}, {{3, 7}, {4, 8}}});
  CHECK(stack({V(1.0), V(2.0)}).tensor() == Tensor<double>{1, 2});
}

TEST_CASE("joining: the same tensor twice, and empty parts") {
  V a = V::filled({2}, 3.0, true);
  sum(concatenate({a, V::zeros({0}), a}) * V(Tensor<double>{1, 2, 3, 4})).backward();
  CHECK(a.gradient()(0) == 4);
  CHECK(a.gradient()(1) == 6);
  CHECK(concatenate({V::zeros({0, 2}), V::zeros({0, 2})}).shape() == Shape{0, 2});
}

TEST_CASE("joining: more tensors than one operation takes") {
  std::vector<V> parts;
  V x = V::filled({1}, 1.0, true);
  for (int i = 0; i < 70000; ++i) parts.push_back(i % 7 == 0 ? x : V::filled({1}, i));
  const V stacked = stack(parts), joined = concatenate(parts);
  CHECK(stacked.shape() == Shape{70000, 1});
  CHECK(joined.shape() == Shape{70000});
  CHECK(stacked.value()(69999, 0) == (69999 % 7 == 0 ? 1 : 69999));
  CHECK(joined.value()(65537) == 65537);
  sum(joined).backward();
  CHECK(x.gradient()(0) == 10000);
}

TEST_CASE("joining: errors name the input and the shapes") {
  const V a = V::zeros({2, 3}), b = V::zeros({2, 2});
  CHECK_THROWS_WITH_AS(concatenate({a, b}), "concatenate: input 1 of shape [2, 2] does not fit to [2, 3] along axis 0",
                       ShapeError);
  CHECK_THROWS_WITH_AS(stack({a, b}, 1), "stack: input 1 of shape [2, 2] does not fit to [2, 3] along axis 1",
                       ShapeError);
  CHECK_THROWS_AS(concatenate({a, V::zeros({3})}), ShapeError);
  CHECK_THROWS_AS(concatenate(std::vector<V>{}), ShapeError);
  CHECK_THROWS_AS(concatenate({V(1.0)}), ShapeError);
}

TEST_CASE("joining: roll wraps around, any number of times") {
  const V x(Tensor<double>{{1, 2, 3}, {4, 5, 6}});
  CHECK(roll(x, 1, 1).tensor() == Tensor<double>{{3, 1, 2}, {6, 4, 5}});
  CHECK(roll(x, -4, 1).tensor() == Tensor<double>{{2, 3, 1}, {5, 6, 4}});
  CHECK(roll(x, 7, 0).tensor() == Tensor<double>{{4, 5, 6}, {1, 2, 3}});
  CHECK(roll(x, 3, 1).tensor() == x.tensor());
  CHECK(roll(V::zeros({0, 2}), 5, 0).shape() == Shape{0, 2});
}
