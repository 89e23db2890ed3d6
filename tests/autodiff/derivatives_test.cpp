#include <tapestry/autodiff/derivatives.hpp>

#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/autodiff/check_gradients.hpp>

using namespace tapestry;

using V = Var<double>;
using Vars = std::vector<V>;

TEST_CASE("derivatives: gradients of any order") {
  V x = V::filled({}, 0.7, true);
  V y = exp(x) * x;
  for (int order = 1; order <= 5; ++order) {
    y = grad(y, {x}, {.create_graph = true})[0];
    CHECK(y.item() == doctest::Approx(std::exp(0.7) * (0.7 + order)).epsilon(1e-13));
  }
  CHECK_FALSE(x.has_gradient());
}

TEST_CASE("derivatives: with respect to intermediate variables, and zeros where there is no path") {
  V x = V::filled({3}, 2.0, true), z = V::filled({2}, 1.0, true);
  const V y = x * x;
  const Vars g = grad(sum(y * y), {y, x, z});
  CHECK(g[0].value()(0) == 8);
  CHECK(g[1].value()(0) == 32);
  CHECK(g[2].value()(1) == 0);
}

TEST_CASE("derivatives: what leads to no variable that is asked for is not computed") {
  int computed = 0;
  const CustomOperation<double, int> counted{
      .name = "counted",
      .forward = [](const TensorViews<double>& x, int&) { return std::vector<Tensor<double>>{x[0]}; },
      .vjp =
          [&](const TensorViews<double>&, const TensorViews<double>&, const TensorViews<double>& g, const int&) {
            ++computed;
            return std::vector<Tensor<double>>{g[0]};
          }};
  const V x = V::filled({3}, 2.0, true), z = V::filled({3}, 1.0, true);
  const V y = sum(counted({x})[0] * counted({counted({z})[0]})[0]);
  CHECK(grad(y, {x}, {.retain_graph = true})[0].value()(0) == 1);
  CHECK(computed == 1);
  grad(y, {x, z});
  CHECK(computed == 4);
}

TEST_CASE("derivatives: hessian, jacobian and Hessian-vector products agree") {
  const Tensor<double> at = {0.3, -0.4, 0.9};
  const std::function<V(const V&)> f = [](const V& x) { return sum(exp(x) * square(x)) * sum(tanh(x)); };
  const Tensor<double> H = hessian(f, V(at));
  const Tensor<double> v = {1.0, 2.0, -1.0};
  const Tensor<double> hv = hvp<double>([&](const Vars& x) { return f(x[0]); }, {V(at)}, {V(v)})[0].tensor();
  for (std::size_t i = 0; i < 3; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      CHECK(H(i, j) == doctest::Approx(H(j, i)).epsilon(1e-12));
      sum += H(i, j) * v(j);
    }
    CHECK(hv(i) == doctest::Approx(sum).epsilon(1e-12));
  }
  const std::function<V(const V&)> wide = [](const V& x) { return reshape(x, {3, 1}) * exp(x); };
  const std::function<V(const V&)> flat = [&](const V& x) { return sum(wide(x), {1}); };
  const Tensor<double> J = jacobian(wide, V(at)), rows = jacobian(flat, V(at));
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t k = 0; k < 3; ++k)
      CHECK(J(i, 0, k) + J(i, 1, k) + J(i, 2, k) == doctest::Approx(rows(i, k)).epsilon(1e-12));
}

TEST_CASE("derivatives: per-sample gradients") {
  V w = V::filled({2}, 3.0, true);
  const V x(Tensor<double>{{1, 2}, {3, 4}, {5, 6}});
  const auto g = per_sample_gradients(sum(square(w * x), {1}), {w})[0];
  CHECK(g(1, 0) == 2 * 3 * 9);
  CHECK(g(2, 1) == 2 * 3 * 36);
}

TEST_CASE("derivatives: check_gradients passes right rules and names wrong ones") {
  const Vars inputs = {V(Tensor<double>{{0.5, -1.0}, {2.0, 0.3}}), V(Tensor<double>{0.7, 1.1})};
  CHECK_NOTHROW(check_gradients([](const Vars& x) { return tanh(x[0] * x[1]) / x[1]; }, inputs, {.order = 2}));
  const Function<double> wrong = [](const Vars& x) { return square(x[0]).detach() + x[0]; };
  CHECK_THROWS_AS(check_gradients(wrong, inputs, {.name = "wrong"}), NumericalError);
  // Right gradients of which the second derivative is zero.
  const Function<double> frozen = [](const Vars& x) {
    return with_gradient(exp(x[0]).detach(), x[0] * exp(x[0]).detach());
  };
  CHECK_NOTHROW(check_gradients(frozen, inputs));
  CHECK_THROWS_WITH_AS(check_gradients(frozen, inputs, {.order = 2, .name = "frozen"}),
                       doctest::Contains("frozen: reverse mode of order 2"), NumericalError);
  // A right vjp beside a wrong jvp.
  const CustomOperation<double, int> backwards{
      .name = "backwards",
      .forward = [](const TensorViews<double>& x, int&) { return std::vector<Tensor<double>>{2 * x[0]}; },
      .vjp = [](const TensorViews<double>&, const TensorViews<double>&, const TensorViews<double>& g,
                const int&) { return std::vector<Tensor<double>>{2 * g[0]}; },
      .jvp = [](const Vars&, const Vars& tangents) { return Vars{-2.0 * tangents[0]}; }};
  const Function<double> f = [&](const Vars& x) { return backwards({x[0]})[0]; };
  CHECK_THROWS_WITH_AS(check_gradients(f, inputs, {.name = "backwards"}),
                       doctest::Contains("backwards: forward mode of order 1"), NumericalError);
  CHECK_NOTHROW(check_gradients(f, inputs, {.forward_mode = false}));
}

TEST_CASE("derivatives: a Jacobian is taken in the mode that needs fewer passes") {
  int forward = 0, backward = 0;
  const CustomOperation<double, int> counted{
      .name = "counted",
      .forward = [](const TensorViews<double>& x, int&) { return std::vector<Tensor<double>>{x[0]}; },
      .vjp =
          [&](const TensorViews<double>&, const TensorViews<double>&, const TensorViews<double>& g, const int&) {
            ++backward;
            return std::vector<Tensor<double>>{g[0]};
          },
      .jvp =
          [&](const Vars&, const Vars& tangents) {
            ++forward;
            return Vars{tangents[0]};
          }};
  const V x(Tensor<double>{1, 2, 3, 4});
  jacobian<double>([&](const V& v) { return slice(counted({v})[0], 0, {0, 3}); }, x);
  CHECK(backward == 3);
  CHECK(forward == 0);
  jacobian<double>([&](const V& v) { return tile(counted({v})[0], {2}); }, x);
  CHECK(backward == 3);
  CHECK(forward == 4);
}
