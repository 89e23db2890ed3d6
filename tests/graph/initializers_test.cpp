#include <tapestry/graph/initializers.hpp>

#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>

using namespace tapestry;

namespace {

struct Moments {
  double mean = 0, variance = 0, largest = 0, fourth = 0;
};

Moments moments(const Tensor<double>& x) {
  Moments m;
  const double n = static_cast<double>(x.size());
  for (const double v : x) m.mean += v / n;
  for (const double v : x) {
    const double d = v - m.mean;
    m.variance += d * d / n;
    m.fourth += d * d * d * d / n;
    m.largest = std::max(m.largest, std::fabs(v));
  }
  return m;
}

// Mean, variance and kurtosis of n numbers within five standard errors of the distribution's.
void check_distribution(const Initializer& initializer, const Shape& shape, double variance, bool uniform) {
  Generator generator(7);
  const Tensor<double> x = initializer.tensor<double>(shape, generator);
  const double n = static_cast<double>(x.size()), kurtosis = uniform ? 1.8 : 3.0;
  const Moments m = moments(x);
  CHECK(std::fabs(m.mean) < 5 * std::sqrt(variance / n));
  CHECK(std::fabs(m.variance / variance - 1) < 5 * std::sqrt((kurtosis - 1) / n));
  CHECK(std::fabs(m.fourth / (m.variance * m.variance) - kurtosis) < 5 * std::sqrt((uniform ? 2.1 : 24.0) / n));
  if (uniform) {
    CHECK(m.largest <= std::sqrt(3 * variance));
    CHECK(m.largest > 0.999 * std::sqrt(3 * variance));
  }
}

// The largest |gram(i, j) - gain^2 [i = j]| over the shorter side of a matrix.
double distance_from_orthogonal(const Tensor<double>& x, std::int64_t rows, std::int64_t columns, double gain) {
  const bool by_rows = rows <= columns;
  const std::int64_t k = std::min(rows, columns), m = std::max(rows, columns);
  const auto at = [&](std::int64_t i, std::int64_t j) { return x.data()[by_rows ? i * columns + j : j * columns + i]; };
  double worst = 0;
  for (std::int64_t a = 0; a < k; ++a)
    for (std::int64_t b = 0; b < k; ++b) {
      double product = 0;
      for (std::int64_t j = 0; j < m; ++j) product += at(a, j) * at(b, j);
      worst = std::max(worst, std::fabs(product - (a == b ? gain * gain : 0)));
    }
  return worst;
}

}  // namespace

TEST_CASE("initializers: fans of linear weights and filters") {
  CHECK(linear_fans({3, 5}).in == 3);
  CHECK(linear_fans({3, 5}).out == 5);
  CHECK(convolution_fans({8, 2, 3, 5}).in == 30);
  CHECK(convolution_fans({8, 2, 3, 5}).out == 120);
  CHECK(convolution_fans({8, 2, 3, 5}, 4).out == 30);
  CHECK(transposed_convolution_fans({8, 2, 3}, 2).in == 12);
  CHECK(transposed_convolution_fans({8, 2, 3}, 2).out == 6);
  CHECK(fans_of({4, 6, 3}).in == 18);
  CHECK_THROWS_WITH_AS(fans_of({4}), "fans_of: a weight of shape [4] has no inputs and outputs", ShapeError);
  CHECK_THROWS_WITH_AS(convolution_fans({8, 2, 3}, 3), "convolution_fans: 8 channels do not fall into 3 groups",
                       ShapeError);
}

TEST_CASE("initializers: moments are those of the papers") {
  const Shape shape{400, 100};
  check_distribution(initializers::uniform(-0.3, 0.3), shape, 0.03, true);
  check_distribution(initializers::normal(0, 0.2), shape, 0.04, false);
  check_distribution(initializers::xavier_uniform(), shape, 2.0 / 500, true);
  check_distribution(initializers::xavier_normal(2), shape, 4 * 2.0 / 500, false);
  check_distribution(initializers::he_uniform(), shape, 2.0 / 400, true);
  check_distribution(initializers::he_normal(), shape, 2.0 / 400, false);
  check_distribution(initializers::he_normal(0.5, FanMode::out), shape, 2.0 / 1.25 / 100, false);
  check_distribution(initializers::lecun_uniform(), shape, 1.0 / 400, true);
  check_distribution(initializers::lecun_normal(), shape, 1.0 / 400, false);
  check_distribution(initializers::he_normal(), {64, 16, 5, 5}, 2.0 / 400, false);
  CHECK(gain_of(Nonlinearity::tanh) == doctest::Approx(5.0 / 3));
  CHECK(gain_of(Nonlinearity::leaky_relu, 1) == doctest::Approx(1));
}

TEST_CASE("initializers: a mean, a constant, and fans that the layer gives") {
  Generator generator(3);
  const Moments m = moments(initializers::normal(2, 0.5).tensor<double>({20000}, generator));
  CHECK(std::fabs(m.mean - 2) < 5 * 0.5 / std::sqrt(20000.0));
  for (const float v : initializers::constant(1.5).tensor<float>({2, 3}, generator)) CHECK(v == 1.5f);
  const Tensor<double> x = initializers::lecun_normal().tensor<double>({300, 100}, generator, Fans{4, 9});
  CHECK(std::fabs(moments(x).variance * 4 - 1) < 5 * std::sqrt(2.0 / 30000));
}

TEST_CASE("initializers: orthogonal matrices, tall, wide and of filters, are uniformly distributed") {
  Generator generator(11);
  for (const Shape& shape : {Shape{40, 7}, Shape{7, 40}, Shape{12, 12}, Shape{6, 4, 3, 3}, Shape{1, 5}}) {
    const Tensor<double> x = initializers::orthogonal(1.5).tensor<double>(shape, generator);
    CHECK(distance_from_orthogonal(x, shape[0], shape.elements() / shape[0], 1.5) < 1e-13);
  }
  // Of a uniform rotation of the plane the first element has mean 0; QR with other signs would not.
  double mean = 0;
  for (int i = 0; i < 2000; ++i) mean += initializers::orthogonal().tensor<double>({2, 2}, generator)(0, 0) / 2000;
  CHECK(std::fabs(mean) < 5 * std::sqrt(0.5 / 2000));
  CHECK(initializers::orthogonal().tensor<float>({0, 4}, generator).size() == 0);
  CHECK_THROWS_AS(initializers::orthogonal().tensor<float>({4}, generator), ShapeError);
}

TEST_CASE("initializers: sparse weights have the connections asked for in each output") {
  Generator generator(5);
  const Tensor<double> x = initializers::sparse(15, 0.1).tensor<double>({50, 400}, generator);
  double squares = 0;
  std::int64_t first_used = 0;
  for (std::size_t j = 0; j < 400; ++j) {
    std::int64_t used = 0;
    for (std::size_t i = 0; i < 50; ++i) {
      used += x(i, j) != 0;
      squares += x(i, j) * x(i, j);
    }
    CHECK(used == 15);
    first_used += x(0, j) != 0;
  }
  CHECK(std::fabs(squares / 6000 / 0.01 - 1) < 5 * std::sqrt(2.0 / 6000));
  CHECK(std::fabs(static_cast<double>(first_used) - 120) < 5 * std::sqrt(400 * 0.3 * 0.7));
  CHECK(initializers::sparse(9).tensor<double>({3, 2}, generator)(2, 1) != 0);
}

TEST_CASE("initializers: the generator decides; float is double rounded; parameters require gradients") {
  Generator one(1), same(1);
  const Tensor<double> x = initializers::he_normal().tensor<double>({30, 20}, one);
  const Tensor<float> y = initializers::he_normal().tensor<float>({30, 20}, same);
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(y.data()[i] == static_cast<float>(x.data()[i]));
  CHECK(one == same);
  CHECK(initializers::he_normal().tensor<double>({30, 20}, one) != x);
  CHECK(initializers::xavier_normal().parameter<float>({2, 2}, one).requires_grad());
}

TEST_CASE("initializers: one of one's own, and what is refused") {
  Generator generator(1);
  const Initializer eye([](const Initializer::Request& r) {
    Tensor<double> out = empty_tensor<double>(r.shape);
    for (std::int64_t i = 0; i < r.shape.elements(); ++i) out.data()[i] = i % (r.shape[1] + 1) == 0;
    return out;
  });
  CHECK(eye.tensor<float>({2, 2}, generator)(1, 1) == 1);
  CHECK(eye.tensor<float>({2, 2}, generator)(0, 1) == 0);
  const Initializer wrong([](const Initializer::Request&) { return Tensor<double>{1.0}; });
  CHECK_THROWS_WITH_AS(wrong.tensor<double>({2}, generator),
                       "Initializer: drew a tensor of shape [1] for one of shape [2]", ShapeError);
  CHECK_THROWS_AS(initializers::normal(0, -1), NumericalError);
  CHECK_THROWS_AS(initializers::uniform(1, 0), NumericalError);
  CHECK_THROWS_AS(initializers::xavier_uniform().tensor<double>({3}, generator), ShapeError);
}
