#include <tapestry/autodiff/ops/shaping.hpp>

#include <random>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

namespace {

V random(const Shape& shape, unsigned seed, bool requires_grad = false) {
  std::mt19937_64 bits(seed);
  std::normal_distribution<double> normal;
  Tensor<double> x = empty_tensor<double>(shape);
  for (double& value : x) value = normal(bits);
  return V(std::move(x), requires_grad);
}

// Position in a tensor that broadcasts to `full`, of element i of `full`.
std::int64_t source(const Shape& small, const Shape& full, std::int64_t i) {
  std::int64_t at = 0, stride = 1;
  for (int k = 1; k <= full.rank(); ++k) {
    const std::int64_t position = i % full[full.rank() - k];
    i /= full[full.rank() - k];
    if (k > small.rank()) continue;
    const std::int64_t extent = small[small.rank() - k];
    if (extent != 1) at += position * stride;
    stride *= extent;
  }
  return at;
}

struct Case {
  Shape small, full;
};
const Case cases[] = {{{}, {}},
                      {{}, {7}},
                      {{1}, {0}},
                      {{3, 1}, {3, 5}},
                      {{5}, {3, 5}},
                      {{1, 1}, {40, 900}},
                      {{1, 900}, {200, 900}},
                      {{200, 1}, {200, 900}},
                      {{1, 3, 1, 5}, {4, 3, 6, 5}},
                      {{2, 1, 3, 1}, {2, 4, 3, 5}},
                      {{1, 2, 1, 3, 1}, {3, 2, 4, 3, 5}},
                      {{3, 1, 70000}, {3, 4, 70000}},
                      {{1, 70001}, {3, 70001}},
                      {{2, 1}, {2, 140000}},
                      {{1, 9}, {20000, 9}}};

}  // namespace

TEST_CASE("shaping: broadcast_to and sum_to against loops, over all patterns of axes and sizes") {
  for (const Case& c : cases) {
    CAPTURE(c.small);
    CAPTURE(c.full);
    const V x = random(c.small, 1, true), y = random(c.full, 2);
    const V wide = broadcast_to(x, c.full);
    REQUIRE(wide.shape() == c.full);
    std::vector<double> sums(static_cast<std::size_t>(x.size()), 0), sizes(sums);
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < y.size(); ++i) {
      const std::int64_t from = source(c.small, c.full, i);
      wrong += wide.data()[i] != x.data()[from];
      sums[static_cast<std::size_t>(from)] += y.data()[i];
      sizes[static_cast<std::size_t>(from)] += std::abs(y.data()[i]);
    }
    CHECK(wrong == 0);
    const V narrow = sum_to(y, c.small);
    // The gradient is added to what is there.
    (sum(wide * y) + sum(2.0 * x)).backward();
    for (std::int64_t i = 0; i < x.size(); ++i) {
      const auto k = static_cast<std::size_t>(i);
      wrong += !(std::abs(narrow.data()[i] - sums[k]) <= 1e-13 * sizes[k]);
      wrong += !(std::abs(x.gradient().data()[i] - 2 - sums[k]) <= 1e-13 * (sizes[k] + 2));
    }
    CHECK(wrong == 0);
    V z = random(c.full, 3, true);
    (sum(sum_to(z, c.small) * x.detach()) + sum(3.0 * z)).backward();
    for (std::int64_t i = 0; i < z.size(); ++i)
      wrong += z.gradient().data()[i] != doctest::Approx(3 + x.data()[source(c.small, c.full, i)]).epsilon(1e-14);
    CHECK(wrong == 0);
  }
}

TEST_CASE("shaping: sums do not depend on the number of threads") {
  const int before = threads();
  for (const Case& c : cases) {
    const V y = random(c.full, 2);
    set_threads(1);
    const Tensor<double> one = sum_to(y, c.small).tensor();
    set_threads(3);
    CHECK(sum_to(y, c.small).tensor() == one);
  }
  set_threads(before);
}

TEST_CASE("shaping: squeeze, expand_dims, tile and repeat") {
  const V x = random({1, 3, 1}, 4);
  CHECK(squeeze(x).shape() == Shape{3});
  CHECK(squeeze(x, {-1}).shape() == Shape{1, 3});
  CHECK(squeeze(x).data() == x.data());
  CHECK(expand_dims(x, -1).shape() == Shape{1, 3, 1, 1});
  CHECK(expand_dims(x, {0, 2}).shape() == Shape{1, 1, 1, 3, 1});
  CHECK(tile(x, {2, 1, 1, 0}).shape() == Shape{2, 1, 3, 0});
  CHECK(tile(x, {4}).shape() == Shape{1, 3, 4});
  CHECK(repeat(x, 0, 1).shape() == Shape{1, 0, 1});
  CHECK_THROWS_WITH_AS(squeeze(x, {1}), "squeeze: axis 1 of shape [1, 3, 1] is not 1", ShapeError);
  CHECK_THROWS_AS(expand_dims(x, 4), ShapeError);
  CHECK_THROWS_AS(tile(x, {-1}), ShapeError);
  CHECK_THROWS_AS(repeat(x, -1, 0), ShapeError);
}
