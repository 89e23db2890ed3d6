#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/metrics/confusion.hpp>

#include <sstream>

#include <doctest/doctest.h>

using namespace tapestry;

TEST_CASE("ConfusionMatrix: counts and ratios of a worked example") {
  ConfusionMatrix matrix(4);  // class 3 never occurs
  const std::vector<std::int64_t> truth{0, 0, 0, 0, 1, 1, 1, 2, 2, 2}, guess{0, 0, 0, 1, 1, 1, 2, 2, 0, 1};
  matrix.add(truth, guess);
  CHECK(matrix.total() == 10);
  CHECK(matrix.count(2, 0) == 1);
  CHECK(matrix.truths(0) == 4);
  CHECK(matrix.predictions(1) == 4);
  CHECK(matrix.accuracy() == doctest::Approx(0.6));
  CHECK(matrix.precision(0) == doctest::Approx(3. / 4));
  CHECK(matrix.recall(1) == doctest::Approx(2. / 3));
  CHECK(matrix.f1(2) == doctest::Approx(2. / 5));
  CHECK(matrix.iou(1) == doctest::Approx(2. / 5));
  CHECK(matrix.f1(3) == 0);
  CHECK(matrix.macro_precision() == doctest::Approx((3. / 4 + 2. / 4 + 1. / 2) / 3));
  CHECK(matrix.macro_recall() == doctest::Approx((3. / 4 + 2. / 3 + 1. / 3) / 3));
  CHECK(matrix.macro_f1() == doctest::Approx((3. / 4 + 4. / 7 + 2. / 5) / 3));
  CHECK(matrix.mean_iou() == doctest::Approx((3. / 5 + 2. / 5 + 1. / 4) / 3));
  const std::vector<std::int64_t> all{0, 1, 2, 3}, some{1, 2};
  CHECK(matrix.micro_f1(all) == doctest::Approx(matrix.accuracy()));
  CHECK(matrix.micro_f1(some) == doctest::Approx(2. * 3 / (3 + 4 + 3 + 2)));
  ConfusionMatrix twice = matrix;
  twice.add(matrix);
  CHECK(twice.total() == 20);
  CHECK(twice.accuracy() == doctest::Approx(0.6));
  std::ostringstream out;
  out << ConfusionMatrix(2);
  CHECK(out.str() == "   0 1\n 0 0 0\n 1 0 0\n");
}

TEST_CASE("ConfusionMatrix: misuse changes nothing") {
  ConfusionMatrix matrix(2);
  const std::vector<std::int64_t> two{0, 1}, one{0}, bad{0, 2};
  CHECK_THROWS_AS(matrix.add(two, one), ShapeError);
  CHECK_THROWS_AS(matrix.add(two, bad), IndexError);
  CHECK_THROWS_AS(matrix.add(ConfusionMatrix(3)), ShapeError);
  CHECK_THROWS_AS(matrix.recall(-1), IndexError);
  CHECK(matrix.total() == 0);
  CHECK(matrix.accuracy() == 0);
  CHECK(matrix.macro_f1() == 0);
}
