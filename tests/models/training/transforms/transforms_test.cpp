#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/transforms/augment.hpp>
#include <tapestry/models/training/transforms/binarise.hpp>
#include <tapestry/models/training/transforms/standardise.hpp>
#include <tapestry/models/training/transforms/whiten.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include <doctest/doctest.h>

using namespace tapestry;

namespace {

double largest_difference(const Tensor<double>& a, const Tensor<double>& b) {
  REQUIRE(shape_of(a) == shape_of(b));
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a.data()[i] - b.data()[i]));
  return most;
}

/// Covariance of rows, by definition.
Tensor<double> covariance(const Tensor<double>& x) {
  const std::size_t n = x.shape()[0], d = x.shape()[1];
  Tensor<double> mean({d}, 0.), result({d, d}, 0.);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < d; ++k) mean(k) += x(i, k) / static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < d; ++k)
      for (std::size_t l = 0; l < d; ++l)
        result(k, l) += (x(i, k) - mean(k)) * (x(i, l) - mean(l)) / static_cast<double>(n);
  return result;
}

Tensor<double> identity(std::size_t d) {
  Tensor<double> result({d, d}, 0.);
  for (std::size_t i = 0; i < d; ++i) result(i, i) = 1;
  return result;
}

}  // namespace

TEST_CASE("Standardiser: mean 0, variance 1, and back; constant features") {
  const Tensor<double> data{{{1, 5}, {2, 0}}, {{3, 5}, {8, 0}}, {{5, 5}, {2, 3}}};
  const auto standardiser = Standardiser<double>::fit(data);
  const auto z = standardiser.apply(data);
  CHECK(standardiser.mean()(0, 0) == 3);
  CHECK(standardiser.deviation()(0, 0) == doctest::Approx(std::sqrt(8. / 3)));
  CHECK(z(2, 0, 0) == doctest::Approx(2 / std::sqrt(8. / 3)));
  CHECK(z(0, 0, 1) == 0);
  CHECK(largest_difference(standardiser.invert(z), data) < 1e-14);
  CHECK_THROWS_AS(standardiser.apply(Tensor<double>{{1., 2.}}), ShapeError);
  CHECK_THROWS_AS(Standardiser<double>::fit(empty_tensor<double>({0, 3})), ShapeError);
  CHECK_THROWS_AS(Standardiser<float>::fit(Tensor<float>{{1.f, 0.f}, {std::numeric_limits<float>::infinity(), 0.f}}),
                  NumericalError);
}

TEST_CASE("Whitener: covariance 1, back again, nearest to the data") {
  Generator generator(5);
  auto data = generator.normal<double>({200, 4});
  for (std::size_t i = 0; i < 200; ++i) {
    data(i, 1) += 2 * data(i, 0) + 3;
    data(i, 3) = 0.1 * data(i, 3) - data(i, 2);
  }
  for (const auto kind : {Whitening::pca, Whitening::zca}) {
    const auto whitener = Whitener<double>::fit(data, {.kind = kind, .epsilon = 0});
    const auto white = whitener.apply(data);
    CHECK(largest_difference(covariance(white), identity(4)) < 1e-9);
    CHECK(largest_difference(whitener.invert(white), data) < 1e-10);
  }
  // The matrix of ZCA is symmetric: the image of each unit vector about the mean.
  const auto zca = Whitener<double>::fit(data);
  Tensor<double> units = identity(4);
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < 4; ++k) units(i, k) += zca.mean()(k);
  const auto matrix = zca.apply(units);
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t k = 0; k < i; ++k) CHECK(matrix(i, k) == doctest::Approx(matrix(k, i)));

  const auto two = Whitener<double>::fit(data, {.kind = Whitening::pca, .epsilon = 0, .components = 2});
  CHECK(shape_of(two.apply(data)) == Shape{200, 2});
  CHECK(two.variances()(0) > two.variances()(1));
  // Of each axis the largest entry is positive: its signs do not hang on the eigenvectors' routine.
  const auto pca = Whitener<double>::fit(data, {.kind = Whitening::pca, .epsilon = 0.5});
  const auto axes = pca.apply(units);
  const auto spread = covariance(pca.apply(data));
  for (std::size_t k = 0; k < 4; ++k) {
    double largest = 0;
    for (std::size_t i = 0; i < 4; ++i)
      if (std::abs(axes(i, k)) > std::abs(largest)) largest = axes(i, k);
    CHECK(largest > 0);
    CHECK(spread(k, k) == doctest::Approx(pca.variances()(k) / (pca.variances()(k) + 0.5)));
  }
  CHECK(shape_of(two.invert(two.apply(data))) == Shape{200, 4});
  CHECK_THROWS_AS(Whitener<double>::fit(data, {.components = 5}), ShapeError);
  CHECK_THROWS_AS(Whitener<double>::fit(Tensor<double>{1., 2.}), ShapeError);
  CHECK_THROWS_AS(two.apply(Tensor<double>{{1., 2.}}), ShapeError);
}

TEST_CASE("binarise and flip_bits") {
  CHECK(binarise(Tensor<float>{0.2f, 0.5f, 0.7f}, 0.5f) == Tensor<float>{0, 0, 1});
  Generator generator(1);
  Tensor<double> p({3, 20000}, 0.);
  for (std::size_t k = 0; k < 20000; ++k) p(1, k) = 0.3, p(2, k) = 1;
  const auto bits = binarise(p, generator);
  const auto flipped = flip_bits(bits, 0.25, generator);
  double sum[3] = {}, changed = 0;
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t k = 0; k < 20000; ++k) {
      sum[i] += bits(i, k);
      changed += flipped(i, k) != bits(i, k);
      CHECK_UNARY(flipped(i, k) == 0 || flipped(i, k) == 1);
    }
  CHECK(sum[0] == 0);
  CHECK(sum[1] / 20000 == doctest::Approx(0.3).epsilon(0.05));
  CHECK(sum[2] == 20000);
  CHECK(changed / 60000 == doctest::Approx(0.25).epsilon(0.05));
  CHECK_THROWS_AS(binarise(Tensor<double>{1.5}, generator), NumericalError);
}

TEST_CASE("move_images: shifts, quarter turns, scales, halves") {
  const Tensor<double> image{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};
  CHECK(move_images(image, {}) == image);
  CHECK(move_images(image, {.down = 1, .right = -1}, -1.) == Tensor<double>{{-1, -1, -1}, {2, 3, -1}, {5, 6, -1}});
  CHECK(largest_difference(move_images(image, {.angle = std::numbers::pi / 2}),
                           Tensor<double>{{3, 6, 9}, {2, 5, 8}, {1, 4, 7}}) < 1e-12);
  CHECK(largest_difference(move_images(image, {.right = 0.5}),
                           Tensor<double>{{0.5, 1.5, 2.5}, {2, 4.5, 5.5}, {3.5, 7.5, 8.5}}) < 1e-12);
  CHECK(largest_difference(move_images(image, {.scale = 2}), Tensor<double>{{3, 3.5, 4}, {4.5, 5, 5.5}, {6, 6.5, 7}}) <
        1e-12);
  const Tensor<double> two{{{1, 0}}, {{0, 1}}};
  CHECK(move_images(two, {.right = 1}) == Tensor<double>{{{0, 1}}, {{0, 0}}});
  CHECK_THROWS_AS(move_images(Tensor<double>{1., 2.}, {}), ShapeError);
  CHECK_THROWS_AS(move_images(image, {.scale = 0}), NumericalError);
}

TEST_CASE("augment: each image in its own way, within the bounds, by seed") {
  Tensor<float> images({50, 15, 15}, 0.f);
  for (std::size_t i = 0; i < 50; ++i) images(i, 7, 7) = 1;
  Generator a(3), b(3), c(4);
  const AugmentOptions options{.shift = 2, .angle = 0.3, .scale = 1.1};
  const auto moved = augment(images, options, a);
  CHECK(moved == augment(images, options, b));
  CHECK(moved != augment(images, options, c));
  bool differ = false;
  for (std::size_t i = 0; i < 50; ++i)
    for (std::size_t y = 0; y < 15; ++y)
      for (std::size_t x = 0; x < 15; ++x) {
        differ |= moved(i, y, x) != moved(0, y, x);
        if (y < 4 || y > 10 || x < 4 || x > 10) CHECK_UNARY(moved(i, y, x) == 0);
      }
  CHECK(differ);
  CHECK(augment(images, {}, a) == images);
  CHECK_THROWS_AS(augment(images, {.scale = 0.5}, a), NumericalError);
}

TEST_CASE("augment: angles and scales fill their bounds, and do not pass them") {
  // Two spots at a distance of 8 from the centre; where their ink is after moving.
  const auto spots = [](const Tensor<double>& images, std::size_t i) {
    double right = 0, down = 0, ink = 0;
    for (std::size_t y = 0; y < 31; ++y)
      for (std::size_t x = 16; x < 31; ++x) {
        ink += images(i, y, x);
        right += images(i, y, x) * (static_cast<double>(x) - 15);
        down += images(i, y, x) * (static_cast<double>(y) - 15);
      }
    return std::pair(right / ink, down / ink);
  };
  Tensor<double> images({200, 31, 31}, 0.);
  for (std::size_t i = 0; i < 200; ++i) images(i, 15, 23) = images(i, 15, 7) = 1;
  Generator generator(6);
  const auto turned = augment(images, {.angle = 0.4}, generator), scaled = augment(images, {.scale = 1.5}, generator);
  double angles[2] = {0, 0}, sizes[2] = {1, 1};
  for (std::size_t i = 0; i < 200; ++i) {
    const auto [right, down] = spots(turned, i);
    CHECK(std::hypot(right, down) == doctest::Approx(8).epsilon(0.05));
    const double angle = std::atan2(-down, right);
    angles[0] = std::min(angles[0], angle);
    angles[1] = std::max(angles[1], angle);
    const auto [across, aside] = spots(scaled, i);
    CHECK(std::abs(aside) < 1e-12);
    sizes[0] = std::min(sizes[0], across / 8);
    sizes[1] = std::max(sizes[1], across / 8);
  }
  // A pixel's ink lies on the grid: within a twentieth of where it belongs.
  CHECK(angles[0] == doctest::Approx(-0.4).epsilon(0.15));
  CHECK(angles[1] == doctest::Approx(0.4).epsilon(0.15));
  CHECK(sizes[0] == doctest::Approx(1 / 1.5).epsilon(0.06));
  CHECK(sizes[1] == doctest::Approx(1.5).epsilon(0.06));
}
