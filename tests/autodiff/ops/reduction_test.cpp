#include <tapestry/autodiff/ops/reduction.hpp>

#include <cmath>
#include <limits>
#include <random>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
const double not_a_number = std::nan("");

V random(const Shape& shape, unsigned seed, bool requires_grad = false) {
  std::mt19937_64 bits(seed);
  std::normal_distribution<double> normal;
  Tensor<double> x = empty_tensor<double>(shape);
  for (double& value : x) value = normal(bits);
  return V(std::move(x), requires_grad);
}

// The fused backward pass against the rule in operations, on a gradient that accumulates.
void check_fused(const Function<double>& f, const V& x) {
  const V leaf(x.tensor(), true);
  const V y = f({leaf});
  const V seed = random(y.shape(), 99);
  const V rule = grad(y, {leaf}, seed, {.create_graph = true})[0];
  const V total = sum(y * seed) + sum(3.0 * leaf);
  total.backward();
  for (std::int64_t i = 0; i < x.size(); ++i)
    CHECK(leaf.gradient().data()[i] == doctest::Approx(rule.data()[i] + 3).epsilon(1e-12));
}

}  // namespace

TEST_CASE("reduction: over axes that lie apart, with and without keep_dims") {
  const V x = random({3, 4, 2, 5}, 1);
  const std::vector<Axes> lists = {{}, {0}, {1, 2}, {0, 2}, {-1, 1}, {0, 1, 3}, {3, 0, 2}};
  for (const Axes& axes : lists) {
    const auto mask = axis_mask("test", axes, 4);
    const Shape kept = reduced_shape(x.shape(), mask, true), dropped = reduced_shape(x.shape(), mask, false);
    // By the kept positions, all elements of each slice.
    std::vector<std::vector<double>> slices(static_cast<std::size_t>(kept.elements()));
    for (std::int64_t i = 0; i < x.size(); ++i) {
      std::int64_t rest = i, at = 0, stride = 1;
      for (int k = 3; k >= 0; --k) {
        if (kept[k] != 1) at += rest % x.shape()[k] * stride;
        stride *= kept[k];
        rest /= x.shape()[k];
      }
      slices[static_cast<std::size_t>(at)].push_back(x.data()[i]);
    }
    const auto check = [&](const Function<double>& f, auto reference) {
      const V y = f({x});
      for (std::size_t i = 0; i < slices.size(); ++i)
        CHECK(y.data()[i] == doctest::Approx(reference(slices[i])).epsilon(1e-13));
    };
    using S = const std::vector<double>&;
    for (const bool keep : {false, true}) {
      CHECK(max(x, axes, keep).shape() == (keep ? kept : dropped));
      CHECK(norm(x, 2, axes, keep).shape() == (keep ? kept : dropped));
      CHECK(norm(x, 1, axes, keep).shape() == (keep ? kept : dropped));
      CHECK(stddev(x, axes, 0, keep).shape() == (keep ? kept : dropped));
    }
    check([&](auto& v) { return max(v[0], axes); }, [](S s) { return *std::max_element(s.begin(), s.end()); });
    check([&](auto& v) { return min(v[0], axes, true); }, [](S s) { return *std::min_element(s.begin(), s.end()); });
    check([&](auto& v) { return prod(v[0], axes); },
          [](S s) {
            double p = 1;
            for (const double e : s) p *= e;
            return p;
          });
    check([&](auto& v) { return logsumexp(v[0], axes, true); },
          [](S s) {
            double p = 0;
            for (const double e : s) p += std::exp(e);
            return std::log(p);
          });
    check([&](auto& v) { return variance(v[0], axes, 1); },
          [](S s) {
            double mean = 0, p = 0;
            for (const double e : s) mean += e / static_cast<double>(s.size());
            for (const double e : s) p += (e - mean) * (e - mean);
            return p / static_cast<double>(s.size() - 1);
          });
    const Function<double> all = [&](const std::vector<V>& v) {
      return max(v[0], axes) + prod(v[0], axes) * logsumexp(v[0], axes) + norm(v[0], 2, axes) + stddev(v[0], axes);
    };
    check_fused(all, x);
    CHECK_NOTHROW(check_gradients(all, {x}));
  }
}

TEST_CASE("reduction: axes of extent one between reduced ones need no copy") {
  const V x = random({3, 1, 4}, 2);
  CHECK(max(x, {0, 2}).shape() == Shape{1});
  CHECK(max(x, {0, 2}, true).shape() == Shape{1, 1, 1});
  CHECK(logsumexp(x, {1}).shape() == Shape{3, 4});
  CHECK(max(V(2.0)).item() == 2);
}

TEST_CASE("reduction: products are differentiated exactly through zeros") {
  const V x(Tensor<double>{{0, 2, 3}, {0, 0, 5}, {1, 2, 4}}, true);
  const V y = prod(x, {1});
  const Tensor<double> expected = {{6, 0, 0}, {0, 0, 0}, {8, 4, 2}};
  CHECK(grad(y, {x}, V::ones({3}), {.retain_graph = true})[0].tensor() == expected);
  CHECK(grad(y, {x}, V::ones({3}), {.create_graph = true})[0].tensor() == expected);
  const Tensor<double> H = hessian<double>([](const V& v) { return prod(v); }, V(Tensor<double>{0, 0, 5}));
  CHECK(H == Tensor<double>{{0, 5, 0}, {5, 0, 0}, {0, 0, 0}});
}

TEST_CASE("reduction: ties of max and min share the gradient") {
  V x(Tensor<double>{{1, 3, 3, 0}, {2, 2, 2, 2}}, true);
  sum(max(x, {1}) * V(Tensor<double>{6, 8})).backward();
  CHECK(x.gradient() == Tensor<double>{{0, 3, 3, 0}, {2, 2, 2, 2}});
  x.zero_gradient();
  sum(min(x, {1}) * V(Tensor<double>{6, 8})).backward();
  CHECK(x.gradient() == Tensor<double>{{0, 0, 0, 6}, {2, 2, 2, 2}});
  check_fused([](const auto& v) { return max(v[0], {1}); }, x.detach());
}

TEST_CASE("reduction: NaN and infinities in max, min and their positions") {
  const V x(Tensor<double>{{1, not_a_number, 3}, {-inf, 5, inf}, {-inf, -inf, -inf}});
  CHECK(std::isnan(max(x, {1}).value()(0)));
  CHECK(std::isnan(min(x, {1}).value()(0)));
  CHECK(max(x, {1}).value()(1) == inf);
  CHECK(min(x, {1}).value()(2) == -inf);
  CHECK(argmax(x, 1) == IndexTensor{1, 2, 0});
  CHECK(argmin(x, 1) == IndexTensor{1, 0, 0});
}

TEST_CASE("reduction: argmax takes the first of equals, along any axis") {
  const V x(Tensor<double>{{2, 7, 7}, {7, 1, 0}});
  CHECK(argmax(x, 0) == IndexTensor{1, 0, 0});
  CHECK(argmax(x, 1) == IndexTensor{1, 0});
  CHECK(argmax(x) == 1);
  CHECK(argmin(x) == 5);
  CHECK(argmin(x, -1, true).shape()[1] == 1);
  CHECK_THROWS_WITH_AS(argmax(V::zeros({2, 0}), 1), "argmax: of no elements; shape [2, 0]", ShapeError);
  CHECK(argmax(V::zeros({0, 2}), 1).size() == 0);
}

TEST_CASE("reduction: of no elements") {
  V none = V::filled({2, 0}, 0.0, true);
  CHECK(prod(none, {1}).tensor() == Tensor<double>{1, 1});
  CHECK(logsumexp(none, {1}).tensor() == Tensor<double>{-inf, -inf});
  CHECK(norm(none).item() == 0);
  CHECK_THROWS_WITH_AS(max(none, {1}), "max: of no elements; shape [2, 0]", ShapeError);
  CHECK_THROWS_WITH_AS(min(none), "min: of no elements; shape [2, 0]", ShapeError);
  CHECK_THROWS_AS(norm(none, inf), ShapeError);
  CHECK_THROWS_AS(variance(none), ShapeError);
  CHECK_THROWS_WITH_AS(variance(V::zeros({3, 1}), {1}, 1), "variance: of 1 elements with ddof 1; shape [3, 1]",
                       ShapeError);
  CHECK_THROWS_AS(stddev(none), ShapeError);
  CHECK(max(none, {0}).shape() == Shape{0});
  (sum(prod(none, {1})) + sum(logsumexp(none, {1}))).backward();
  CHECK(none.gradient().size() == 0);
}

TEST_CASE("reduction: norms far from one, at zero and of infinities") {
  CHECK(norm(V(Tensor<double>{3e200, 4e200})).item() == doctest::Approx(5e200).epsilon(1e-15));
  CHECK(norm(V(Tensor<double>{3e-200, 4e-200})).item() == doctest::Approx(5e-200).epsilon(1e-15));
  CHECK(norm(Var<float>(Tensor<float>{3e30F, 4e30F})).item() == doctest::Approx(5e30).epsilon(1e-6));
  CHECK(norm(V(Tensor<double>{1, -inf})).item() == inf);
  CHECK(std::isnan(norm(V(Tensor<double>{1, not_a_number})).item()));
  CHECK(norm(V(Tensor<double>{1, -5, 2}), inf).item() == 5);
  CHECK(norm(V(Tensor<double>{1, -5, 2}), 1).item() == 8);
  CHECK_THROWS_AS(norm(V(1.0), 3), Error);
  V x(Tensor<double>{{0, 0}, {3, 4}}, true);
  const V g = grad(sum(norm(x, 2, {1})), {x}, {.create_graph = true})[0];
  CHECK(g.value()(0, 0) == 0);
  CHECK(g.value()(1, 1) == doctest::Approx(0.8));
  CHECK(grad(sum(square(g)), {x})[0].value()(0, 1) == 0);
  sum(norm(x, 2, {1})).backward();
  CHECK(x.gradient()(0, 0) == 0);
  // Large elements: the gradient is that of the direction.
  V big(Tensor<double>{3e200, 4e200}, true);
  norm(big).backward();
  CHECK(big.gradient()(0) == doctest::Approx(0.6).epsilon(1e-15));
  V same = V::filled({4}, 2.5, true);
  stddev(same).backward();
  CHECK(same.gradient()(2) == 0);
}

TEST_CASE("reduction: large ones do not depend on the number of threads") {
  const int before = threads();
  const V x = random({70, 60, 50}, 3);
  const auto results = [&] {
    std::vector<Tensor<double>> out;
    for (const Axes& axes : {Axes{}, Axes{0}, Axes{1}, Axes{2}, Axes{0, 2}}) {
      const V leaf(x.tensor(), true);
      const V y = sum(max(leaf, axes) + norm(leaf, 2, axes) + logsumexp(leaf, axes) + variance(leaf, axes));
      out.push_back(y.tensor());
      out.push_back(grad(y, {leaf})[0].tensor());
    }
    return out;
  };
  set_threads(1);
  const auto one = results();
  set_threads(3);
  CHECK(results() == one);
  set_threads(before);
}
