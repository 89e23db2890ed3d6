#include <tapestry/graph/constrained.hpp>

#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/graph/archive.hpp>

using namespace tapestry;

namespace {

struct Gaussian {
  Var<double> mean = Var<double>::filled({2}, 0.0, true);
  Constrained<double> covariance{Tensor<double>{{1.0, 0.0}, {0.0, 1.0}}, bijections::covariance()};
  void members(Members& m) { m("mean", mean)("covariance", covariance); }

  Var<double> negative_log_likelihood(const Var<double>& x) const {
    const Var<double> s = covariance.value(), d = x - mean;
    return 0.5 * logdet(s) + 0.5 * tapestry::mean(sum(d * transpose(solve(s, transpose(d))), {1}));
  }
};

// A bijection of one's own, without shapes, for the elements are transformed one by one.
struct Doubled {
  std::string name() const { return "doubled"; }
  template <class T>
  Var<T> forward(const Var<T>& x, Var<T>* log_det) const {
    if (log_det) *log_det = Var<T>::filled(x.shape(), std::log(T(2)));
    return x * T(2);
  }
  template <class T>
  Var<T> inverse(const Var<T>& y) const {
    return y * T(0.5);
  }
};

}  // namespace

TEST_CASE("constrained: a module with one unconstrained parameter that starts at a value") {
  const Tensor<double> start{{2.0, 0.5}, {0.5, 1.0}};
  Gaussian g;
  g.covariance.assign(start);
  for (int i = 0; i < 4; ++i) CHECK(g.covariance.value().data()[i] == doctest::Approx(start.data()[i]).epsilon(1e-15));
  const auto named = named_parameters<double>(g);
  REQUIRE(named.size() == 2);
  CHECK(named[1].name == "covariance.unconstrained");
  CHECK(parameter_count(g) == 2 + 3);
  CHECK_THROWS_AS(g.covariance.assign(Tensor<double>{{1.0, 2.0}, {2.0, 1.0}}), NumericalError);
  CHECK(g.covariance.value().data()[1] == doctest::Approx(0.5).epsilon(1e-15));

  Gaussian copy = clone(g);
  copy.covariance.assign(Tensor<double>{{1.0, 0.0}, {0.0, 1.0}});
  CHECK(g.covariance.value().data()[0] == doctest::Approx(2).epsilon(1e-15));
  freeze(g, "covariance");
  g.negative_log_likelihood(Var<double>(Tensor<double>{{1.0, 2.0}})).backward();
  CHECK(g.mean.has_gradient());
  CHECK_FALSE(g.covariance.unconstrained().has_gradient());

  const NamedTensors saved = weights(g).save();
  weights(copy).load(saved, "memory");
  CHECK(copy.covariance.value().tensor() == g.covariance.value().tensor());
}

TEST_CASE("constrained: descent finds the covariance of the data, and every step stays inside") {
  Generator generator(3);
  Tensor<double> x = generator.normal<double>({200, 2});
  for (std::size_t i = 0; i < 200; ++i) x(i, 1) = 0.8 * x(i, 0) + 0.3 * x(i, 1) + 1;
  Gaussian g;
  for (int step = 0; step < 400; ++step) {
    zero_gradients(g);
    g.negative_log_likelihood(Var<double>(x)).backward();
    for (auto& [name, p] : named_parameters<double>(g)) p.assign(p.tensor() - 0.1 * p.gradient());
    CHECK_NOTHROW(cholesky(g.covariance.value()));
  }
  double mean[2] = {0, 0}, second[3] = {0, 0, 0};
  for (std::size_t i = 0; i < 200; ++i) mean[0] += x(i, 0) / 200, mean[1] += x(i, 1) / 200;
  for (std::size_t i = 0; i < 200; ++i) {
    const double a = x(i, 0) - mean[0], b = x(i, 1) - mean[1];
    second[0] += a * a / 200, second[1] += a * b / 200, second[2] += b * b / 200;
  }
  const Tensor<double> found = g.covariance.value().tensor();
  CHECK(found(0, 0) == doctest::Approx(second[0]).epsilon(1e-6));
  CHECK(found(1, 0) == doctest::Approx(second[1]).epsilon(1e-6));
  CHECK(found(1, 1) == doctest::Approx(second[2]).epsilon(1e-6));
}

TEST_CASE("constrained: parameters shared between two, and bijections of one's own") {
  const Var<double> x(Tensor<double>{1.0, 2.0}, true);
  const Constrained<double> a(x, Doubled()), b(x, bijections::positive());
  CHECK(a.value().tensor() == Tensor<double>{2.0, 4.0});
  CHECK(a.value_and_log_det().log_det.data()[1] == std::log(2.0));
  CHECK(a.bijection().constrained_shape({5}) == Shape{5});
  sum(a.value() + b.value()).backward();
  CHECK(x.gradient()(0) == doctest::Approx(2 + std::exp(1.0)).epsilon(1e-15));
  CHECK_THROWS_AS(Constrained<double>(x * x, Doubled()), GraphError);
  CHECK_THROWS_AS(Constrained<double>(x, bijections::covariance()), ShapeError);
}
