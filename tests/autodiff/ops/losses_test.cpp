#include <tapestry/autodiff/ops/losses.hpp>

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
constexpr Reduction reductions[] = {Reduction::none, Reduction::mean, Reduction::sum};

V reduced(const V& losses, Reduction reduction) {
  return reduction == Reduction::none ? losses : reduction == Reduction::mean ? mean(losses) : sum(losses);
}

// One operation against its composition: value and first gradients, and the rule against the fused backward.
template <class F, class G>
void check_same(F fused, G composed, const std::vector<Shape>& shapes, double tolerance = 1e-12) {
  Vars x;
  for (const Shape& shape : shapes) x.emplace_back(normal_values(shape, static_cast<unsigned>(11 + x.size())), true);
  for (const Reduction reduction : reductions) {
    const V y = fused(x, reduction), expected = reduced(composed(x), reduction);
    check_close(y, expected, tolerance);
    const V seed(normal_values(y.shape(), 3));
    const auto g = grad(y, x, seed), h = grad(expected, x, seed);
    for (std::size_t i = 0; i < x.size(); ++i) check_close(g[i], h[i], tolerance);
    check_fused_backward([&](const Vars& v) { return fused(v, reduction); }, shapes, tolerance);
  }
}

IndexTensor random_labels(const Shape& shape, std::int64_t classes) {
  return Generator(4).integers(shape, classes);
}

}  // namespace

TEST_CASE("losses: cross entropy in one pass is the composition, for few and many classes and rows") {
  for (const Shape& x : {Shape{1}, Shape{7}, Shape{5, 3}, Shape{2, 3, 70}, Shape{3000, 10}, Shape{3, 40000}}) {
    const std::int64_t classes = x.back();
    Shape rows = x;
    rows.erase(rows.rank() - 1);
    const Indices labels(random_labels(rows, classes));
    const V chosen = reshape(one_hot<double>(labels, classes), x);
    check_same([&](const Vars& v, Reduction r) { return cross_entropy(v[0], labels, r); },
               [&](const Vars& v) { return -sum(chosen * log_softmax(v[0]), {-1}); }, {x});
    check_same([&](const Vars& v, Reduction r) { return cross_entropy_with_probabilities(v[0], square(v[1]), r); },
               [&](const Vars& v) { return -sum(square(v[1]) * log_softmax(v[0]), {-1}); }, {x, x}, 1e-11);
    const V weights(Tensor<double>(xt::abs(normal_values({classes}, 9))));
    const V q = weights * (0.7 * chosen + 0.3 / static_cast<double>(classes));
    const auto options = [&](Reduction r) {
      return CrossEntropyOptions<double>{.reduction = r, .smoothing = 0.3, .class_weights = weights.tensor()};
    };
    for (const Reduction r : {Reduction::none, Reduction::sum})
      check_fused_backward([&](const Vars& v) { return cross_entropy(v[0], labels, options(r)); }, {x});
    const V logits(normal_values(x, 1));
    check_close(cross_entropy(logits, labels, options(Reduction::none)), -sum(q * log_softmax(logits), {-1}), 1e-12);
    check_close(cross_entropy(logits, labels, options(Reduction::mean)),
                -sum(q * log_softmax(logits)) / sum(chosen * weights), 1e-12);
  }
}

TEST_CASE("losses: an ignored example counts for nothing, whatever its scores") {
  V x(Tensor<double>{{1, 2}, {nan_value, inf}, {3, 1}}, true);
  const Indices labels{0, -100, 1};
  const CrossEntropyOptions<double> options{.ignored_label = -100, .smoothing = 0.1};
  const V loss = cross_entropy(x, labels, options);
  const V two(Tensor<double>{{1, 2}, {3, 1}});
  CHECK(loss.item() == doctest::Approx(cross_entropy(two, {0, 1}, {.smoothing = 0.1}).item()).epsilon(1e-15));
  loss.backward();
  CHECK(x.gradient()(1, 0) == 0);
  CHECK(x.gradient()(1, 1) == 0);
  V all(Tensor<double>{{1, 2}}, true);
  const V nothing = cross_entropy(all, {7}, {.ignored_label = 7});
  CHECK(nothing.item() == 0);
  nothing.backward();
  CHECK(Tensor<double>(all.gradient()) == Tensor<double>{{0, 0}});
}

TEST_CASE("losses: impossible states and infinite scores") {
  V x(Tensor<double>{{-inf, 0, -inf}, {-inf, 1, 1}, {inf, 0, inf}}, true);
  const V each = cross_entropy(x, {1, 0, 2}, Reduction::none);
  CHECK(each.value()(0) == 0);
  CHECK(each.value()(1) == inf);
  CHECK(each.value()(2) == doctest::Approx(std::log(2)));
  const V g = grad(each, {x}, V(Tensor<double>{1, 0, 1}))[0];
  CHECK(g.tensor() == Tensor<double>{{0, 0, 0}, {0, 0, 0}, {0.5, 0, -0.5}});
  const V soft = cross_entropy_with_probabilities(x, V(Tensor<double>{{0, 1, 0}, {0, 0.5, 0.5}, {0.5, 0, 0.5}}));
  CHECK(soft.item() == doctest::Approx(2 * std::log(2) / 3));
  CHECK(cross_entropy(V(Tensor<double>{{-inf, -inf}}), {0}).item() == inf);
  CHECK(std::isnan(cross_entropy(V(Tensor<double>{{-inf, nan_value}}), {0}).item()));
  // Confident and right: the loss is the small number, not the rounding of a large one.
  CHECK(static_cast<double>(cross_entropy(Var<float>(Tensor<float>{{20.0f, 0.0f, 5.0f}}), {0}).item()) ==
        doctest::Approx(3.0796e-7).epsilon(1e-1));
  V certain(Tensor<double>{inf, -inf, 1000, -1000}, true), targets(Tensor<double>{1, 0, 1, 0});
  const V loss = binary_cross_entropy_with_logits(certain, targets, Reduction::sum);
  CHECK(loss.item() == 0);
  loss.backward();
  CHECK(Tensor<double>(certain.gradient()) == Tensor<double>{0, 0, 0, 0});
}

TEST_CASE("losses: elementwise losses in one pass are their compositions") {
  using Loss = std::function<V(const V&, const V&, Reduction)>;
  const std::vector<std::pair<Loss, std::function<V(const V&, const V&)>>> losses{
      {[](const V& x, const V& t, Reduction r) { return binary_cross_entropy_with_logits(x, t, r); },
       [](const V& x, const V& t) { return softplus(x) - t * x; }},
      {[](const V& x, const V& t, Reduction r) { return squared_error(x, t, r); },
       [](const V& x, const V& t) { return square(x - t); }},
      {[](const V& x, const V& t, Reduction r) { return absolute_error(x, t, r); },
       [](const V& x, const V& t) { return abs(x - t); }},
      {[](const V& x, const V& t, Reduction r) { return huber(x, t, 0.6, r); },
       [](const V& x, const V& t) {
         const V size = abs(x - t);
         return where(less_equal(size, V(0.6)), 0.5 * square(size), 0.6 * (size - 0.3));
       }},
      {[](const V& x, const V& t, Reduction r) { return hinge(x, t, r); },
       [](const V& x, const V& t) { return relu(1.0 - t * x); }}};
  for (const auto& [fused, composed] : losses)
    for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{
             {{}, {}}, {{13}, {13}}, {{2, 3, 4}, {3, 1}}, {{1, 5}, {4, 5}}, {{70000}, {70000}}})
      check_same([f = fused](const Vars& v, Reduction r) { return f(v[0], v[1], r); },
                 [f = composed](const Vars& v) { return f(v[0], v[1]); }, {a, b}, 1e-11);
}

TEST_CASE("losses: of nothing there are no losses, a sum of zero and no mean") {
  const V x = V::zeros({0, 3}), flat = V::zeros({0});
  CHECK(cross_entropy(x, IndexTensor(xt::svector<std::size_t, 4>{0}), Reduction::none).shape() == Shape{0});
  CHECK(cross_entropy(x, IndexTensor(xt::svector<std::size_t, 4>{0}), Reduction::sum).item() == 0);
  CHECK(squared_error(flat, flat, Reduction::sum).item() == 0);
  CHECK(squared_error(flat, flat, Reduction::none).shape() == Shape{0});
  CHECK_THROWS_WITH_AS(squared_error(flat, flat), "squared_error: the mean of no losses (shape [0])", ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(x, IndexTensor(xt::svector<std::size_t, 4>{0})),
                       "cross_entropy: the mean of no losses (shape [0])", ShapeError);
}

TEST_CASE("losses: the same bits with any number of threads") {
  const int before = threads();
  const Var<float> x(normal_values<float>({3000, 33}, 1), true), t(normal_values<float>({3000, 33}, 2));
  const Indices labels(random_labels({3000}, 33));
  std::vector<Tensor<float>> results[2];
  for (const int count : {1, 3}) {
    set_threads(count);
    for (const Var<float>& y : {cross_entropy(x, labels), squared_error(x, t), cross_entropy_with_probabilities(x, t),
                                cross_entropy(x, labels, {.smoothing = 0.1})}) {
      results[count == 1].push_back(y.tensor());
      results[count == 1].push_back(grad(y, {x})[0].tensor());
    }
  }
  set_threads(before);
  for (std::size_t i = 0; i < results[0].size(); ++i) CHECK(results[0][i] == results[1][i]);
}

TEST_CASE("losses: margins meet only what is too close") {
  const V scores(Tensor<double>{{3, 1, 2.5}, {0, -inf, -5}});
  CHECK(multiclass_margin(scores, {0, 0}, 1.0, 1, Reduction::none).tensor() == Tensor<double>{0.5, 0});
  CHECK(multiclass_margin(scores, {0, 0}, 1.0, 2, Reduction::none).tensor() == Tensor<double>{0.25, 0});
  CHECK(multiclass_margin(scores, {1, 0}, 1.0, 1, Reduction::none).tensor() == Tensor<double>{5.5, 0});
  CHECK(multiclass_hinge(scores, {1, 2}, 1.0, Reduction::none).tensor() == Tensor<double>{3, 6});
  CHECK(multiclass_hinge(V::filled({1, 1}, 4.0), {0}).item() == 0);
  CHECK_THROWS_WITH_AS(multiclass_hinge(scores, {0, 3}),
                       "multiclass_hinge: label 3 at position 1 for scores of shape [2, 3]", IndexError);
  CHECK_THROWS_WITH_AS(multiclass_margin(scores, {0}),
                       "multiclass_margin: labels of shape [1] for scores of shape [2, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(multiclass_margin(scores, {0, 0}, 1.0, 3), "multiclass_margin: a power of 3 instead of 1 or 2",
                       Error);
  // Where two points coincide, the triplet's gradient is zero, not NaN.
  V anchor(Tensor<double>{{1, 2}}, true);
  const V loss = triplet(anchor, V(Tensor<double>{{1, 2}}), V(Tensor<double>{{1, 2}}), 0.5);
  CHECK(loss.item() == 0.5);
  loss.backward();
  CHECK(Tensor<double>(anchor.gradient()) == Tensor<double>{{0, 0}});
}

TEST_CASE("losses: reductions, and no overflow for extreme logits") {
  const V logits(Tensor<double>{{1000.0, 0.0}, {0.0, 1000.0}});
  const V each = cross_entropy(logits, {1, 1}, Reduction::none);
  CHECK(each.value()(0) == 1000);
  CHECK(each.value()(1) == 0);
  CHECK(cross_entropy(logits, {1, 1}, Reduction::sum).item() == 1000);
  CHECK(cross_entropy(logits, {1, 1}).item() == 500);
  CHECK(binary_cross_entropy_with_logits(V(-1000.0), V(1.0)).item() == 1000);
}

TEST_CASE("losses: an impossible state adds nothing to a divergence") {
  const double never = -std::numeric_limits<double>::infinity();
  V log_p(Tensor<double>{0.0, never}, true), log_q(Tensor<double>{std::log(0.5), std::log(0.5)}, true);
  const V divergence = kl_divergence(log_p, log_q);
  CHECK(divergence.item() == doctest::Approx(std::log(2)));
  divergence.backward();
  CHECK(log_p.gradient()(0) == doctest::Approx(1 + std::log(2)));
  CHECK(log_p.gradient()(1) == 0);
  CHECK(log_q.gradient()(1) == 0);
}

TEST_CASE("losses: labels that do not fit are refused") {
  const V logits(Tensor<double>{{1.0, 0.0}, {0.0, 1.0}});
  CHECK_THROWS_WITH_AS(cross_entropy(logits, {0, 2}), "cross_entropy: label 2 at position 1 for scores of shape [2, 2]",
                       IndexError);
  CHECK_THROWS_WITH_AS(cross_entropy(logits, {0}), "cross_entropy: labels of shape [1] for scores of shape [2, 2]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(logits, {0, 1}, {.class_weights = Tensor<double>{1, 2, 3}}),
                       "cross_entropy: class weights of shape [3] for scores of shape [2, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(cross_entropy(logits, {0, 1}, {.class_weights = Tensor<double>{1, -2}}),
                       "cross_entropy: a class weight of -2 is negative or not finite", NumericalError);
  CHECK_THROWS_WITH_AS(cross_entropy(logits, {0, 1}, {.smoothing = 2}),
                       "cross_entropy: a smoothing of 2 is not within 0 and 1", NumericalError);
  CHECK_THROWS_WITH_AS(cross_entropy_with_probabilities(logits, V(Tensor<double>{1.0, 0.0})),
                       "cross_entropy_with_probabilities: targets of shape [2] for scores of shape [2, 2]", ShapeError);
  CHECK_THROWS_AS(huber(logits, logits, 0.0), Error);
}
