#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/metrics/measures.hpp>

#include <cmath>
#include <vector>

#include <doctest/doctest.h>

using namespace tapestry;

TEST_CASE("accuracy and top-k accuracy") {
  const std::vector<std::int64_t> truth{0, 1, 2}, guess{0, 2, 2}, none, bad{0, 1, 3};
  CHECK(accuracy(truth, guess) == doctest::Approx(2. / 3));
  CHECK(accuracy(none, none) == 0);
  CHECK_THROWS_AS(accuracy(truth, none), ShapeError);
  const Tensor<float> scores{{3, 1, 2}, {3, 1, 2}, {1, 2, 2}};
  CHECK(top_k_accuracy<float>(truth, scores, 1) == doctest::Approx(1. / 3));
  CHECK(top_k_accuracy<float>(truth, scores, 2) == doctest::Approx(2. / 3));
  CHECK(top_k_accuracy<float>(truth, scores, 3) == 1);
  CHECK_THROWS_AS(top_k_accuracy<float>(bad, scores), IndexError);
  CHECK_THROWS_AS(top_k_accuracy<float>(none, scores), ShapeError);
}

TEST_CASE("psnr, masks, perplexity") {
  const Tensor<double> a{{0., 1.}, {1., 0.}}, b{{0., 1.}, {0.8, 0.}};
  CHECK(psnr(a, b) == doctest::Approx(10 * std::log10(4 / 0.04)));
  CHECK(psnr(a, b, 255) == doctest::Approx(10 * std::log10(255. * 255 * 4 / 0.04)));
  CHECK(std::isinf(psnr(a, a)));
  CHECK_THROWS_AS(psnr(a, Tensor<double>{1., 2.}), ShapeError);
  CHECK(mask_iou(a, Tensor<double>{{1., 1.}, {0., 0.}}) == doctest::Approx(1. / 3));
  CHECK(mask_iou(Tensor<float>{0.f}, Tensor<float>{0.f}) == 1);
  CHECK(perplexity(10 * std::log(7.), 10) == doctest::Approx(7));
  CHECK_THROWS_AS(perplexity(1, 0), Error);
}
