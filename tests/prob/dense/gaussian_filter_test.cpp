#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/prob/dense/gaussian_filter.hpp>

#include "prob/normal_numbers.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

Tensor<double> sums(const Tensor<double>& f, const Tensor<double>& in, bool include_self) {
  Tensor<double> out = Tensor<double>::from_shape(in.shape());
  out.fill(0);
  for (std::size_t i = 0; i < f.shape()[0]; ++i)
    for (std::size_t j = 0; j < f.shape()[0]; ++j) {
      if (i == j && !include_self) continue;
      double square = 0;
      for (std::size_t k = 0; k < f.shape()[1]; ++k) square += (f(i, k) - f(j, k)) * (f(i, k) - f(j, k));
      for (std::size_t c = 0; c < in.shape()[1]; ++c) out(i, c) += std::exp(-square / 2) * in(j, c);
    }
  return out;
}

/// Root of the mean square error, relative to that of the truth.
double error_of(const Tensor<double>& a, const Tensor<double>& truth) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    difference += (a.data()[i] - truth.data()[i]) * (a.data()[i] - truth.data()[i]);
    size += truth.data()[i] * truth.data()[i];
  }
  return std::sqrt(difference / size);
}

/// A smooth image with an edge, in colour.
Tensor<double> image(std::int64_t height, std::int64_t width) {
  Tensor<double> out = empty_tensor<double>({height, width, 3});
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t c = 0; c < 3; ++c)
        out.data()[(y * width + x) * 3 + c] =
            80 + 20 * std::sin(.1 * static_cast<double>(x + c * y)) + (3 * x > 2 * width - y ? 70 : 0);
  return out;
}

}  // namespace

TEST_CASE("exact Gaussian sums") {
  const auto features = normal_numbers<double>({9, 3}, 1);
  const auto values = normal_numbers<double>({9, 4}, 2);
  for (const bool self : {false, true}) {
    const GaussianFilter<double> filter(features, {.include_self = self});
    CHECK(filter.exact());
    CHECK(error_of(filter(Var<double>(values)).tensor(), sums(features, values, self)) < 1e-14);
  }
  // Normalised: weights divided by the roots of both sums.
  Tensor<double> ones = Tensor<double>::from_shape({9, 1});
  ones.fill(1);
  const auto all = sums(features, ones, true);
  auto scaled = values;
  for (std::size_t i = 0; i < 9; ++i)
    for (std::size_t c = 0; c < 4; ++c) scaled(i, c) /= std::sqrt(all(i, 0));
  auto expected = sums(features, scaled, false);
  for (std::size_t i = 0; i < 9; ++i)
    for (std::size_t c = 0; c < 4; ++c) expected(i, c) /= std::sqrt(all(i, 0));
  CHECK(error_of(GaussianFilter<double>(features, {.normalize = true})(Var<double>(values)).tensor(), expected) <
        1e-14);
}

TEST_CASE("the lattice's sums are close to the exact ones") {
  // Positions in the plane, and positions with colours: errors relative to the root mean square.
  const auto values = [](std::int64_t n) {
    auto out = normal_numbers<double>({n, 3}, 3);
    for (double& x : out) x = 1 / (1 + std::exp(-3 * x));
    return out;
  };
  for (const bool self : {false, true}) {
    const GaussianFilterOptions options{.method = FilterMethod::lattice, .include_self = self};
    const auto plane = pixel_features<double>(40, 40, 3.);
    const auto in = values(1600);
    const GaussianFilter<double> filter(plane, options);
    CHECK_FALSE(filter.exact());
    CHECK(error_of(filter(Var<double>(in)).tensor(), sums(plane, in, self)) < .02);
    // Among colours most corners of the lattice are missing, which normalisation makes up for.
    const auto colors = pixel_features(image(40, 40), 10., 13.);
    const auto run = [&](FilterMethod method, bool normalize) {
      const GaussianFilter<double> any(colors, {.method = method, .include_self = self, .normalize = normalize});
      return any(Var<double>(in)).tensor();
    };
    CHECK(error_of(run(FilterMethod::exact, false), sums(colors, in, self)) < 1e-13);
    CHECK(error_of(run(FilterMethod::lattice, false), run(FilterMethod::exact, false)) < .35);
    CHECK(error_of(run(FilterMethod::lattice, true), run(FilterMethod::exact, true)) < .05);
  }
}

TEST_CASE("without itself a point of the lattice gives nothing to itself") {
  const GaussianFilter<double> filter(pixel_features<double>(40, 40, 3.),
                                      {.method = FilterMethod::lattice, .include_self = false});
  for (const std::int64_t p : {20 * 40 + 20, 17 * 40 + 22, 23 * 40 + 19}) {
    Tensor<double> one = empty_tensor<double>({1600, 1});
    one.fill(0);
    one(p, 0) = 1;
    const auto out = filter(Var<double>(std::move(one))).tensor();
    CHECK(std::abs(out(p, 0)) < 1e-12);
    CHECK(out(p + 1, 0) > .5);
  }
}

TEST_CASE("a lattice of very many vertices: points far apart do not see each other") {
  constexpr std::int64_t all = 2000, few = 7;
  Tensor<double> places = normal_numbers<double>({all, 4}, 8), last = empty_tensor<double>({few, 4});
  for (double& x : places) x *= 1000;
  std::copy(places.begin() + (all - few) * 4, places.end(), last.begin());
  const GaussianFilterOptions options{.method = FilterMethod::lattice};
  const GaussianFilter<double> filter(places, options), part(last, options);
  CHECK(filter.vertices() > 8192);
  const auto in = normal_numbers<double>({all, 2}, 9);
  Tensor<double> own = empty_tensor<double>({few, 2});
  std::copy(in.begin() + (all - few) * 2, in.end(), own.begin());
  const auto got = filter(Var<double>(in)).tensor(), expected = part(Var<double>(own)).tensor();
  for (std::int64_t p = 0; p < few; ++p)
    for (std::int64_t c = 0; c < 2; ++c) CHECK(got(all - few + p, c) == doctest::Approx(expected(p, c)).epsilon(1e-12));
}

TEST_CASE("the lattice's gradient is the transposed filter") {
  for (const std::int64_t dimensions : {1, 2, 5}) {
    const GaussianFilter<double> filter(normal_numbers<double>({30, dimensions}, 4), {.method = FilterMethod::lattice});
    // <a, F b> = <F^T a, b>, and F is not symmetric where corners are missing.
    const Var<double> a(normal_numbers<double>({30, 2}, 5)), b(normal_numbers<double>({30, 2}, 6), true);
    const auto product = sum(a * filter(b));
    product.backward();
    double transposed = 0;
    for (std::int64_t i = 0; i < 60; ++i) transposed += b.gradient().data()[i] * b.data()[i];
    CHECK(transposed == doctest::Approx(product.item()).epsilon(1e-12));
    check_gradients([&](const std::vector<Var<double>>& in) { return sum(exp(filter(in[0]) * .1)); },
                    {Var<double>(normal_numbers<double>({30, 2}, 7), true)}, {.order = 2});
  }
}

TEST_CASE("any number of channels, either precision, any number of threads") {
  const auto features = normal_numbers<float>({3000, 4}, 8);
  for (const std::int64_t channels : {1, 3, 16, 21, 48, 70}) {
    const auto values = normal_numbers<float>({3000, channels}, 9);
    Tensor<double> wide_features = features, wide = values;
    const auto reference =
        GaussianFilter<double>(wide_features, {.method = FilterMethod::lattice})(Var<double>(wide)).tensor();
    const GaussianFilter<float> filter(features);
    CHECK_FALSE(filter.exact());
    CHECK(filter.vertices() > 500);
    const int before = threads();
    set_threads(1);
    const auto one = filter(Var<float>(values)).tensor();
    set_threads(2);
    CHECK(filter(Var<float>(values)).tensor() == one);
    set_threads(before);
    const Tensor<double> widened = one;
    CHECK(error_of(widened, reference) < 1e-5);
  }
}

TEST_CASE("filters: what is refused") {
  CHECK_THROWS_AS(GaussianFilter<double>(normal_numbers<double>({4}, 1)), ShapeError);
  auto features = normal_numbers<double>({4, 2}, 1);
  const GaussianFilter<double> filter(features);
  CHECK_THROWS_AS(filter(Var<double>::zeros({5, 2})), ShapeError);
  CHECK_THROWS_AS(filter(Var<double>::zeros({4})), ShapeError);
  features(1, 1) = std::nan("");
  CHECK_THROWS_AS(GaussianFilter<double>{features}, NumericalError);
  features(1, 1) = 1e20;
  CHECK_THROWS_AS(GaussianFilter<double>(features, {.method = FilterMethod::lattice}), NumericalError);
  CHECK_THROWS_AS(pixel_features<double>(3, 3, 0.), NumericalError);
  CHECK_THROWS_AS(pixel_features(normal_numbers<double>({3, 3}, 1), 1., 1.), ShapeError);
}
