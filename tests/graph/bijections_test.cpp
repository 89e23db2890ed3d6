#include <tapestry/graph/bijections.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

namespace {

enum class Coordinates { all, all_but_last, lower, strictly_lower };

struct Case {
  std::string name;
  Bijection bijection;
  Shape event;  ///< unconstrained; rank 0 for elementwise ones
  Coordinates coordinates;
  std::function<bool(const double* y, std::int64_t n)> inside;  ///< n: last extent of y
};

bool above(const double* y, std::int64_t n, double bound) {
  for (std::int64_t i = 0; i < n; ++i) {
    if (!(y[i] > bound)) return false;
    bound = y[i];
  }
  return true;
}
bool is_simplex(const double* y, std::int64_t n) {
  double total = 0, least = 1;
  for (std::int64_t i = 0; i < n; ++i) total += y[i], least = std::min(least, y[i]);
  return least > 0 && std::fabs(total - 1) < 1e-14;
}
bool is_factor(const double* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = i; j < n; ++j)
      if (j == i ? !(y[i * n + j] > 0) : y[i * n + j] != 0) return false;
  return true;
}
// Symmetric, and elimination without exchanges meets positive pivots only.
bool is_positive_definite(const double* y, std::int64_t n) {
  std::vector<double> a(y, y + n * n);
  const auto at = [&](std::int64_t i, std::int64_t j) -> double& { return a[static_cast<std::size_t>(i * n + j)]; };
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < i; ++j)
      if (std::fabs(at(i, j) - at(j, i)) > 1e-14) return false;
  for (std::int64_t k = 0; k < n; ++k) {
    if (!(at(k, k) > 0)) return false;
    for (std::int64_t i = k + 1; i < n; ++i)
      for (std::int64_t j = n - 1; j >= k; --j) at(i, j) -= at(i, k) / at(k, k) * at(k, j);
  }
  return true;
}

std::vector<Case> all_cases() {
  using namespace bijections;
  const auto between = [](double low, double high) {
    return [=](const double* y, std::int64_t n) {
      return std::all_of(y, y + n, [=](double v) { return v > low && v < high; });
    };
  };
  constexpr double inf = std::numeric_limits<double>::infinity();
  const auto rows = [](const double* y, std::int64_t n) {
    return is_simplex(y, n) && is_simplex(y + n, n) && is_simplex(y + 2 * n, n);
  };
  const auto unit_rows = [](const double* y, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      double norm = 0;
      for (std::int64_t j = 0; j < n; ++j) norm += y[i * n + j] * y[i * n + j];
      if (std::fabs(norm - 1) > 1e-14) return false;
    }
    return is_factor(y, n);
  };
  const auto unit_diagonal = [](const double* y, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i)
      if (std::fabs(y[i * n + i] - 1) > 1e-14) return false;
    return is_positive_definite(y, n);
  };
  return {
      {"positive", positive(), {}, Coordinates::all, between(0, inf)},
      {"softplus", positive(Positive::softplus), {}, Coordinates::all, between(0, inf)},
      {"greater_than", greater_than(-2), {}, Coordinates::all, between(-2, inf)},
      {"less_than", less_than(3), {}, Coordinates::all, between(-inf, 3)},
      {"interval", interval(-1, 4), {}, Coordinates::all, between(-1, 4)},
      {"stick-breaking", simplex(), {4}, Coordinates::all_but_last, is_simplex},
      {"softmax", simplex(Simplex::softmax), {4}, Coordinates::all_but_last, is_simplex},
      {"stochastic", stochastic_matrix(), {3, 2}, Coordinates::all_but_last, rows},
      {"stochastic softmax", stochastic_matrix(Simplex::softmax), {3, 2}, Coordinates::all_but_last, rows},
      {"ordered",
       ordered(),
       {4},
       Coordinates::all,
       [](const double* y, std::int64_t n) { return above(y, n, -std::numeric_limits<double>::infinity()); }},
      {"positive_ordered",
       positive_ordered(),
       {4},
       Coordinates::all,
       [](const double* y, std::int64_t n) { return above(y, n, 0); }},
      {"cholesky_factor", cholesky_factor(), {10}, Coordinates::lower, is_factor},
      {"covariance", covariance(), {10}, Coordinates::lower, is_positive_definite},
      {"cholesky_correlation", cholesky_correlation(), {6}, Coordinates::strictly_lower, unit_rows},
      {"correlation", correlation(), {6}, Coordinates::strictly_lower, unit_diagonal},
  };
}

// The elements of an event's y that are coordinates.
std::vector<double> coordinates_of(const Case& c, const Tensor<double>& y) {
  std::vector<double> out;
  const auto n = y.dimension() == 0 ? std::size_t(1) : y.shape().back();
  for (std::size_t k = 0; k < y.size(); ++k) {
    const std::size_t i = k / n, j = k % n;
    const bool taken = c.coordinates == Coordinates::all            ? true
                       : c.coordinates == Coordinates::all_but_last ? j + 1 < n
                       : c.coordinates == Coordinates::lower        ? j <= i
                                                                    : j < i;
    if (taken) out.push_back(y.data()[k]);
  }
  return out;
}

// log |det| by elimination with exchanges.
double log_abs_det(std::vector<std::vector<double>> a) {
  double out = 0;
  const std::size_t n = a.size();
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t pivot = k;
    for (std::size_t i = k; i < n; ++i)
      if (std::fabs(a[i][k]) > std::fabs(a[pivot][k])) pivot = i;
    std::swap(a[k], a[pivot]);
    out += std::log(std::fabs(a[k][k]));
    for (std::size_t i = k + 1; i < n; ++i)
      for (std::size_t j = n; j-- > k;) a[i][j] -= a[i][k] / a[k][k] * a[k][j];
  }
  return out;
}

// By differences of fourth order.
double numeric_log_det(const Case& c, const Tensor<double>& x) {
  const auto f = [&](std::size_t k, double step) {
    Tensor<double> moved = x;
    moved.data()[k] += step;
    return coordinates_of(c, c.bijection(Var<double>(moved)).tensor());
  };
  constexpr double h = 1e-3;
  std::vector<std::vector<double>> jacobian(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) {
    const auto a = f(k, -2 * h), b = f(k, -h), d = f(k, h), e = f(k, 2 * h);
    REQUIRE(a.size() == x.size());
    for (std::size_t i = 0; i < a.size(); ++i) jacobian[k].push_back((a[i] - 8 * b[i] + 8 * d[i] - e[i]) / (12 * h));
  }
  return log_abs_det(std::move(jacobian));
}

Shape batched(const Shape& event) {
  Shape shape{2, 3};
  for (const std::int64_t n : event) shape.push_back(n);
  return shape;
}

}  // namespace

TEST_CASE("bijections: values are inside the set, and the Jacobian's determinant is the numerical one, by event") {
  Generator generator(11);
  for (const Case& c : all_cases()) {
    INFO(c.name);
    const Tensor<double> x = generator.normal<double>(batched(c.event), 0, 1.5);
    const Transformed<double> y = c.bijection.forward_and_log_det(Var<double>(x));
    CHECK(y.value.shape() == c.bijection.constrained_shape(batched(c.event)));
    CHECK(y.log_det.shape() == Shape{2, 3});
    CHECK(y.value.tensor() == c.bijection(Var<double>(x)).tensor());
    const std::int64_t size = c.event.elements(), y_size = y.value.size() / 6;
    for (std::int64_t i = 0; i < 6; ++i) {
      CHECK(c.inside(y.value.data() + i * y_size, y.value.rank() == 2 ? 1 : y.value.shape().back()));
      Tensor<double> event = empty_tensor<double>(c.event);
      std::copy(x.data() + i * size, x.data() + (i + 1) * size, event.data());
      CHECK(std::fabs(y.log_det.data()[i] - numeric_log_det(c, event)) < 1e-8);
      const Transformed<double> alone = c.bijection.forward_and_log_det(Var<double>(event));
      CHECK(std::fabs(alone.log_det.item() - y.log_det.data()[i]) < 1e-13);
      CHECK(std::equal(alone.value.data(), alone.value.data() + y_size, y.value.data() + i * y_size));
    }
  }
}

TEST_CASE("bijections: the inverse takes back what the map does, in float and double") {
  Generator generator(12);
  for (const Case& c : all_cases()) {
    INFO(c.name);
    const Var<double> x(generator.normal<double>(batched(c.event), 0, 1.5));
    const Var<double> back = c.bijection.inverse(c.bijection(x));
    REQUIRE(back.shape() == x.shape());
    CHECK(c.bijection.unconstrained_shape(c.bijection.constrained_shape(x.shape())) == x.shape());
    for (std::int64_t i = 0; i < x.size(); ++i) CHECK(std::fabs(back.data()[i] - x.data()[i]) < 2e-12);
    const Var<float> single(Tensor<float>(x.tensor()));
    const Var<float> single_back = c.bijection.inverse(c.bijection(single));
    for (std::int64_t i = 0; i < x.size(); ++i) CHECK(std::fabs(single_back.data()[i] - single.data()[i]) < 2e-3f);
  }
}

TEST_CASE("bijections: gradients of value, determinant and inverse, to second order") {
  Generator generator(13);
  for (const Case& c : all_cases()) {
    INFO(c.name);
    const Var<double> x(generator.normal<double>(batched(c.event)));
    const Var<double> weights(generator.normal<double>(c.bijection.constrained_shape(x.shape())));
    check_gradients(
        [&](const std::vector<Var<double>>& v) {
          const Transformed<double> y = c.bijection.forward_and_log_det(v[0]);
          return sum(weights * y.value) + sum(square(y.log_det));
        },
        {x}, {.order = 2, .tolerance = 2e-6, .name = c.name});
    const Var<double> other(generator.normal<double>(x.shape()));
    check_gradients(
        // Through the map, so that the differences stay within the set.
        [&](const std::vector<Var<double>>& v) { return sum(other * square(c.bijection.inverse(c.bijection(v[0])))); },
        {x}, {.order = 2, .tolerance = 2e-6, .name = c.name + ", inverse"});
  }
}

TEST_CASE("bijections: numbers by hand") {
  const auto one = [](double x) { return Var<double>(Tensor<double>{x}); };
  const Tensor<double> third = bijections::simplex()(Var<double>(Tensor<double>{0.0, 0.0})).tensor();
  for (const double v : third) CHECK(v == doctest::Approx(1.0 / 3).epsilon(1e-15));
  const Transformed<double> odds =
      bijections::simplex(bijections::Simplex::softmax).forward_and_log_det(one(std::log(3.0)));
  CHECK(odds.value.data()[0] == doctest::Approx(0.75).epsilon(1e-15));
  CHECK(odds.log_det.item() == doctest::Approx(std::log(0.75 * 0.25)).epsilon(1e-15));
  const Transformed<double> r = bijections::correlation().forward_and_log_det(one(std::atanh(-0.6)));
  CHECK(r.value.data()[1] == doctest::Approx(-0.6).epsilon(1e-15));
  CHECK(r.value.data()[2] == r.value.data()[1]);
  CHECK(r.log_det.item() == doctest::Approx(std::log(0.64)).epsilon(1e-14));
  // A variance e^2x, whose derivative is 2 e^2x.
  const Transformed<double> variance = bijections::covariance().forward_and_log_det(one(0.3));
  CHECK(variance.value.data()[0] == doctest::Approx(std::exp(0.6)).epsilon(1e-15));
  CHECK(variance.log_det.item() == doctest::Approx(std::log(2.0) + 0.6).epsilon(1e-15));
  const Tensor<double> steps = bijections::ordered()(Var<double>(Tensor<double>{-5.0, 0.0, std::log(2.0)})).tensor();
  CHECK(steps(1) == doctest::Approx(-4).epsilon(1e-15));
  CHECK(steps(2) == doctest::Approx(-2).epsilon(1e-15));
  // Tails in which the formulas of textbooks overflow or vanish.
  const Transformed<double> far = bijections::interval(0, 1).forward_and_log_det(one(-800));
  CHECK(far.log_det.data()[0] == doctest::Approx(-800));
  CHECK(bijections::correlation().forward_and_log_det(one(400)).log_det.item() ==
        doctest::Approx(-800 + 2 * std::log(2)));
}

TEST_CASE("bijections: far out, at 50 and -50, values, determinants and gradients are numbers") {
  const auto check = [](const Case& c, auto zero) {
    using T = decltype(zero);
    for (const double far : {50.0, -50.0}) {
      INFO(far);
      for (const bool alternating : {false, true}) {
        Var<T> x = Var<T>::filled(batched(c.event), static_cast<T>(far), true);
        if (alternating)
          for (std::int64_t i = 1; i < x.size(); i += 2) x.mutable_data()[i] = static_cast<T>(-far);
        const Transformed<T> y = c.bijection.forward_and_log_det(x);
        const auto finite = [](const Var<T>& v) {
          return std::all_of(v.data(), v.data() + v.size(), [](T e) { return std::isfinite(e); });
        };
        CHECK(finite(y.log_det));
        CHECK(finite(grad(sum(y.log_det), {x}, {.retain_graph = true})[0]));
        // A covariance of e^50 squared has no place in a float: infinite, but no NaN.
        if (std::is_same_v<T, float> && c.name == "covariance") {
          CHECK(std::none_of(y.value.data(), y.value.data() + y.value.size(), [](T e) { return std::isnan(e); }));
          continue;
        }
        CHECK(finite(y.value));
        CHECK(finite(grad(sum(y.value), {x})[0]));
      }
    }
  };
  for (const Case& c : all_cases()) {
    INFO(c.name);
    check(c, 0.0);
    check(c, 0.f);
  }
}

TEST_CASE("bijections: the smallest events") {
  using namespace bijections;
  const Var<double> none = Var<double>::zeros({2, 0});
  const auto all_one = [](const Var<double>& y, const Shape& shape) {
    return y.shape() == shape && std::all_of(y.data(), y.data() + y.size(), [](double v) { return v == 1; });
  };
  CHECK(all_one(simplex()(none), {2, 1}));
  CHECK(simplex(Simplex::softmax).forward_and_log_det(none).log_det.tensor() == Tensor<double>({0.0, 0.0}));
  CHECK(correlation().forward_and_log_det(none).log_det.tensor() == Tensor<double>({0.0, 0.0}));
  CHECK(all_one(correlation()(none), {2, 1, 1}));
  CHECK(correlation().inverse(correlation()(none)).shape() == Shape{2, 0});
  CHECK(covariance()(none).shape() == Shape{2, 0, 0});
  CHECK(ordered()(none).shape() == Shape{2, 0});
  CHECK(ordered().forward_and_log_det(Var<double>(Tensor<double>{2.0})).value.tensor() == Tensor<double>{2.0});
}

TEST_CASE("bijections: shapes and values that do not fit are refused") {
  using namespace bijections;
  const Var<double> number(2.0);
  CHECK_THROWS_WITH_AS(covariance()(Var<double>::zeros({3, 4})),
                       "covariance: the last extent of [3, 4] is no n (n + 1) / 2", ShapeError);
  CHECK_THROWS_WITH_AS(correlation()(Var<double>::zeros({5})),
                       "correlation: the last extent of [5] is no n (n - 1) / 2", ShapeError);
  CHECK_THROWS_AS(simplex()(number), ShapeError);
  CHECK_THROWS_AS(ordered()(number), ShapeError);
  CHECK_THROWS_AS(stochastic_matrix()(Var<double>::zeros({3})), ShapeError);
  CHECK_THROWS_AS(covariance().inverse(Var<double>::zeros({2, 3})), ShapeError);
  CHECK_THROWS_AS(simplex().inverse(Var<double>::zeros({0})), ShapeError);
  const auto refused = [](const Bijection& bijection, const Tensor<double>& y) {
    CHECK_THROWS_AS(bijection.inverse(Var<double>(y)), NumericalError);
  };
  CHECK_THROWS_WITH_AS(positive().inverse(Var<double>(Tensor<double>{1.0, 0.0})),
                       "positive: element 1, 0, is not positive", NumericalError);
  refused(positive(Positive::softplus), {-1.0});
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const Bijection& map :
       {positive(), positive(Positive::softplus), greater_than(2), ordered(), positive_ordered()})
    for (const double v : {infinity, std::nan("")}) refused(map, {v});
  refused(less_than(2), {-infinity});
  for (const Bijection& map :
       {covariance(), correlation(), cholesky_factor(), cholesky_correlation(), stochastic_matrix()})
    for (const double v : {infinity, std::nan("")}) refused(map, {{v, 0.0}, {0.0, v}});
  refused(greater_than(2), {2.0});
  refused(less_than(2), {2.0});
  refused(interval(0, 1), {1.0});
  refused(simplex(), {0.5, 0.6});
  refused(simplex(), {1.5, -0.5});
  refused(ordered(), {1.0, 1.0});
  refused(positive_ordered(), {0.0, 1.0});
  refused(cholesky_factor(), {{1.0, 1.0}, {0.0, 1.0}});
  refused(cholesky_factor(), {{1.0, 0.0}, {0.0, -1.0}});
  refused(covariance(), {{1.0, 0.5}, {0.4, 1.0}});
  refused(covariance(), {{1.0, 2.0}, {2.0, 1.0}});
  refused(correlation(), {{1.0, 0.5}, {0.5, 2.0}});
  refused(cholesky_correlation(), {{1.0, 0.0}, {0.5, 0.5}});
  CHECK_THROWS_AS(interval(1, 1), NumericalError);
  CHECK_THROWS_AS(greater_than(std::numeric_limits<double>::infinity()), NumericalError);
  CHECK_THROWS_AS(less_than(std::nan("")), NumericalError);
}
