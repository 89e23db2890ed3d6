#include <tapestry/autodiff/kernels/reduce.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "autodiff/kernels/architectures.hpp"

using namespace tapestry::detail;
using tapestry::test::tables;

namespace {

using Real = long double;
constexpr double inf = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

const AxisView views[] = {{1, 1, 1},  {3, 5, 1},   {4, 64, 1},   {2, 300, 1}, {1, 9000, 1}, {1, 7, 3},
                          {2, 5, 33}, {3, 4, 129}, {1, 200, 17}, {0, 4, 3},   {2, 3, 0},    {5, 1, 2}};

template <class T>
std::vector<T> random_values(std::size_t n, double low, double high, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<T> x(n);
  for (T& v : x) v = T(uniform(random));
  return x;
}
std::size_t size(AxisView v) {
  return v.outer * v.axis * v.inner;
}
std::size_t reduced(AxisView v) {
  return v.outer * v.inner;
}

/// Calls f with each slice along the axis, as values, and its place among the reduced.
template <class T>
void for_slices(AxisView v, const std::vector<T>& x,
                const std::function<void(const std::vector<Real>&, std::size_t)>& f) {
  for (std::size_t o = 0; o < v.outer; ++o)
    for (std::size_t i = 0; i < v.inner; ++i) {
      std::vector<Real> slice(v.axis);
      for (std::size_t a = 0; a < v.axis; ++a) slice[a] = x[(o * v.axis + a) * v.inner + i];
      f(slice, o * v.inner + i);
    }
}
/// Index in the full array of element a of the reduced place r.
std::size_t full_index(AxisView v, std::size_t r, std::size_t a) {
  return (r / v.inner * v.axis + a) * v.inner + r % v.inner;
}
template <class T>
bool close(Real a, Real b, Real scale, double epsilons) {
  return std::fabs(a - b) <= epsilons * std::numeric_limits<T>::epsilon() * (scale + std::numeric_limits<T>::min());
}

/// Central differences of sum g y(x) in double, for each x.
std::vector<double> slopes(std::vector<double> x, const std::vector<double>& g,
                           const std::function<void(const double*, double*)>& f) {
  const double h = 1e-6;
  std::vector<double> up(g.size()), down(g.size()), d(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) {
    const double at = x[k];
    x[k] = at + h;
    f(x.data(), up.data());
    x[k] = at - h;
    f(x.data(), down.data());
    x[k] = at;
    for (std::size_t r = 0; r < g.size(); ++r) d[k] += g[r] * (up[r] - down[r]) / (2 * h);
  }
  return d;
}
void check_close(const std::vector<double>& a, const std::vector<double>& b, double offset, double tolerance) {
  for (std::size_t k = 0; k < a.size(); ++k)
    CHECK(std::fabs(a[k] - offset - b[k]) <= tolerance * (1 + std::fabs(b[k])));
}

}  // namespace

TEST_CASE_TEMPLATE("reduce: sums, and their accumulation", T, float, double) {
  for (const auto& isa : tables<ReduceKernels<T>>())
    for (const AxisView v : views) {
      INFO(isa.name, " ", v.outer, " ", v.axis, " ", v.inner);
      const std::vector<T> x = random_values<T>(size(v), -1, 1, 1), z = random_values<T>(size(v), -1, 1, 2);
      std::vector<T> s(reduced(v)), q(reduced(v), T(2)), p(reduced(v));
      isa.table->sum(x.data(), v, s.data(), false);
      isa.table->sum_of_squares(x.data(), v, q.data(), true);
      isa.table->sum_of_products(x.data(), z.data(), v, p.data(), false);
      for_slices<T>(v, x, [&](const std::vector<Real>& slice, std::size_t r) {
        Real sum = 0, squares = 0, products = 0, magnitude = 0;
        for (std::size_t a = 0; a < slice.size(); ++a) {
          sum += slice[a];
          squares += slice[a] * slice[a];
          products += slice[a] * z[full_index(v, r, a)];
          magnitude += std::fabs(slice[a]);
        }
        CHECK(close<T>(s[r], sum, magnitude, 10));
        CHECK(close<T>(q[r], squares + 2, squares + 2, 10));
        CHECK(close<T>(p[r], products, magnitude, 10));
      });
      std::vector<T> back(size(v), T(1));
      isa.table->expand(s.data(), T(0.5), v, back.data(), true);
      for (std::size_t r = 0; r < reduced(v); ++r)
        for (std::size_t a = 0; a < v.axis; ++a)
          CHECK(close<T>(back[full_index(v, r, a)], 1 + 0.5L * s[r], 1 + std::fabs(s[r]), 2));
    }
}

TEST_CASE("reduce: an empty axis gives the identities") {
  for (const auto& isa : tables<ReduceKernels<double>>())
    for (const AxisView v : {AxisView{2, 0, 1}, AxisView{2, 0, 3}}) {
      INFO(isa.name);
      std::vector<double> y(reduced(v), 5);
      isa.table->sum(nullptr, v, y.data(), false);
      for (const double s : y) CHECK(s == 0);
      isa.table->product(nullptr, v, y.data());
      for (const double s : y) CHECK(s == 1);
      isa.table->maximum(nullptr, v, y.data());
      for (const double s : y) CHECK(s == -inf);
      isa.table->logsumexp(nullptr, v, y.data());
      for (const double s : y) CHECK(s == -inf);
    }
}

TEST_CASE_TEMPLATE("reduce: products, extrema and where they are", T, float, double) {
  for (const auto& isa : tables<ReduceKernels<T>>())
    for (const AxisView v : views) {
      INFO(isa.name, " ", v.outer, " ", v.axis, " ", v.inner);
      std::vector<T> x = random_values<T>(size(v), 0.9, 1.1, 1);
      for (T& e : x) e = std::round(e * 64) / 64;  // so that there are ties
      std::vector<T> p(reduced(v)), high(reduced(v)), low(reduced(v)), g(size(v), T(1));
      std::vector<std::int64_t> at_high(reduced(v)), at_low(reduced(v));
      isa.table->product(x.data(), v, p.data());
      isa.table->maximum(x.data(), v, high.data());
      isa.table->minimum(x.data(), v, low.data());
      isa.table->argmax(x.data(), v, at_high.data());
      isa.table->argmin(x.data(), v, at_low.data());
      std::vector<T> share(size(v));
      const std::vector<T> ones(reduced(v), T(1));
      isa.table->extremum_backward(ones.data(), x.data(), high.data(), v, share.data(), false);
      for_slices<T>(v, x, [&](const std::vector<Real>& slice, std::size_t r) {
        Real product = 1;
        for (const Real e : slice) product *= e;
        const auto best = std::max_element(slice.begin(), slice.end()),
                   worst = std::min_element(slice.begin(), slice.end());
        CHECK(close<T>(p[r], product, product, 3.0 + double(v.axis)));
        CHECK(high[r] == *best);
        CHECK(low[r] == *worst);
        CHECK(at_high[r] == best - slice.begin());
        CHECK(at_low[r] == worst - slice.begin());
        const auto ties = std::count(slice.begin(), slice.end(), *best);
        for (std::size_t a = 0; a < v.axis; ++a)
          CHECK(share[full_index(v, r, a)] == (slice[a] == *best ? T(1) / T(ties) : T(0)));
      });
    }
}

TEST_CASE("reduce: extrema see every NaN") {
  for (const auto& isa : tables<ReduceKernels<double>>())
    for (const AxisView v : {AxisView{1, 70, 1}, AxisView{1, 70, 9}})
      for (std::size_t at = 0; at < 70; at += 3) {
        std::vector<double> x = random_values<double>(size(v), -1, 1, 4);
        x[at * v.inner] = x[69 * v.inner] = not_a_number;
        std::vector<double> y(reduced(v));
        std::vector<std::int64_t> index(reduced(v));
        INFO(isa.name, " at ", at);
        isa.table->maximum(x.data(), v, y.data());
        CHECK(std::isnan(y[0]));
        isa.table->minimum(x.data(), v, y.data());
        CHECK(std::isnan(y[0]));
        isa.table->argmax(x.data(), v, index.data());
        CHECK(index[0] == std::int64_t(at));
        if (v.inner > 1) CHECK(index[1] < 70);
        isa.table->softmax(x.data(), v, x.data());
        CHECK(std::isnan(x[0]));
      }
}

TEST_CASE_TEMPLATE("reduce: logsumexp and the softmaxes", T, float, double) {
  for (const auto& isa : tables<ReduceKernels<T>>())
    for (const AxisView v : views) {
      INFO(isa.name, " ", v.outer, " ", v.axis, " ", v.inner);
      const std::vector<T> x = random_values<T>(size(v), -20, 20, 1);
      std::vector<T> l(reduced(v)), s(size(v)), ls(size(v));
      isa.table->logsumexp(x.data(), v, l.data());
      isa.table->softmax(x.data(), v, s.data());
      isa.table->log_softmax(x.data(), v, ls.data());
      for_slices<T>(v, x, [&](const std::vector<Real>& slice, std::size_t r) {
        Real sum = 0;
        for (const Real e : slice) sum += std::exp(e);
        CHECK(close<T>(l[r], std::log(sum), std::fabs(std::log(sum)) + 1, 2));
        for (std::size_t a = 0; a < v.axis; ++a) {
          const std::size_t k = full_index(v, r, a);
          CHECK(close<T>(s[k], std::exp(slice[a]) / sum, std::exp(slice[a]) / sum, 24));
          CHECK(close<T>(ls[k], slice[a] - std::log(sum), std::fabs(slice[a]) + std::fabs(std::log(sum)) + 1, 2));
        }
      });
    }
}

TEST_CASE_TEMPLATE("reduce: logsumexp and the softmaxes with infinities", T, float, double) {
  const T i = std::numeric_limits<T>::infinity();
  for (const auto& isa : tables<ReduceKernels<T>>())
    for (const std::size_t inner : {1, 5})
      for (const std::size_t axis : {3, 80}) {
        INFO(isa.name, " inner ", inner, " axis ", axis);
        const AxisView v{1, axis, inner};
        std::vector<T> x(size(v), -i), l(inner), s(size(v)), ls(size(v)), d(size(v), T(3)), g(size(v), T(1));
        const auto run = [&] {
          isa.table->logsumexp(x.data(), v, l.data());
          isa.table->softmax(x.data(), v, s.data());
          isa.table->log_softmax(x.data(), v, ls.data());
          isa.table->logsumexp_backward(g.data(), x.data(), l.data(), v, d.data(), false);
        };
        run();
        CHECK(l[0] == -i);
        CHECK(s[inner] == 0);
        CHECK(ls[inner] == -i);
        CHECK(d[inner] == 0);
        x[2 * inner] = 5;
        run();
        CHECK(l[0] == 5);
        CHECK(s[0] == 0);
        CHECK(s[2 * inner] == 1);
        CHECK(ls[0] == -i);
        CHECK(ls[2 * inner] == 0);
        CHECK(d[2 * inner] == 1);
        CHECK(d[0] == 0);
        x[0] = x[2 * inner] = i;
        run();
        CHECK(l[0] == i);
        CHECK(s[0] == T(0.5));
        CHECK(s[inner] == 0);
        CHECK(ls[0] == doctest::Approx(-std::log(2.0)).epsilon(1e-6));
      }
}

TEST_CASE("reduce: gradients agree with central differences") {
  for (const auto& isa : tables<ReduceKernels<double>>())
    for (const AxisView v : {AxisView{2, 5, 1}, AxisView{1, 37, 1}, AxisView{2, 4, 3}, AxisView{1, 3, 18}}) {
      INFO(isa.name, " ", v.outer, " ", v.axis, " ", v.inner);
      const std::size_t n = size(v);
      const std::vector<double> x = random_values<double>(n, -2, 2, 1),
                                small = random_values<double>(reduced(v), -1, 1, 2),
                                full = random_values<double>(n, -1, 1, 3);
      std::vector<double> y(n), out(n, 3);
      isa.table->logsumexp(x.data(), v, y.data());
      isa.table->logsumexp_backward(small.data(), x.data(), y.data(), v, out.data(), true);
      check_close(out, slopes(x, small, [&](const double* a, double* b) { isa.table->logsumexp(a, v, b); }), 3, 1e-8);
      isa.table->product_backward(small.data(), x.data(), v, out.data(), false);
      check_close(out, slopes(x, small, [&](const double* a, double* b) { isa.table->product(a, v, b); }), 0, 1e-6);
      isa.table->softmax(x.data(), v, y.data());
      isa.table->softmax_backward(full.data(), y.data(), v, out.data(), false);
      check_close(out, slopes(x, full, [&](const double* a, double* b) { isa.table->softmax(a, v, b); }), 0, 1e-8);
      out.assign(n, 3);
      isa.table->log_softmax(x.data(), v, y.data());
      isa.table->log_softmax_backward(full.data(), y.data(), v, out.data(), true);
      check_close(out, slopes(x, full, [&](const double* a, double* b) { isa.table->log_softmax(a, v, b); }), 3, 1e-7);
      isa.table->logcumsumexp(x.data(), v, y.data());
      isa.table->logcumsumexp_backward(full.data(), x.data(), y.data(), v, out.data(), false);
      check_close(out, slopes(x, full, [&](const double* a, double* b) { isa.table->logcumsumexp(a, v, b); }), 0, 1e-8);
      const auto cumprod = slopes(x, full, [&](const double* a, double* b) { isa.table->cumprod(a, v, b); });
      isa.table->cumprod_backward(full.data(), x.data(), v, out.data(), false);
      check_close(out, cumprod, 0, 1e-6);
      out.assign(n, 3);
      isa.table->cumprod_backward(full.data(), x.data(), v, out.data(), true);
      check_close(out, cumprod, 3, 1e-6);
    }
}

TEST_CASE("reduce: products with zeros have exact gradients") {
  for (const auto& isa : tables<ReduceKernels<double>>()) {
    INFO(isa.name);
    const double g = 2, one[] = {3, 0, 5}, two[] = {3, 0, 0};
    double out[3];
    isa.table->product_backward(&g, one, {1, 3, 1}, out, false);
    CHECK(std::vector<double>(out, out + 3) == std::vector<double>{0, 30, 0});
    isa.table->product_backward(&g, two, {1, 3, 1}, out, false);
    CHECK(std::vector<double>(out, out + 3) == std::vector<double>{0, 0, 0});
    // y = {3, 0, 0}: dy1/dx0 = 0, dy1/dx1 = 3, dy2/dx1 = 15
    const double all[] = {1, 1, 1};
    isa.table->cumprod_backward(all, one, {1, 3, 1}, out, false);
    CHECK(std::vector<double>(out, out + 3) == std::vector<double>{1, 18, 0});
  }
}

TEST_CASE_TEMPLATE("reduce: scans", T, float, double) {
  for (const auto& isa : tables<ReduceKernels<T>>())
    for (const AxisView v : views) {
      if (v.axis > 1000) continue;
      INFO(isa.name, " ", v.outer, " ", v.axis, " ", v.inner);
      const std::vector<T> x = random_values<T>(size(v), -1.2, 1.2, 1);
      std::vector<T> sum(size(v)), back = x, product(size(v)), logs(size(v));
      isa.table->cumsum(x.data(), v, sum.data(), false);
      isa.table->cumsum(back.data(), v, back.data(), true);
      isa.table->cumprod(x.data(), v, product.data());
      isa.table->logcumsumexp(x.data(), v, logs.data());
      for_slices<T>(v, x, [&](const std::vector<Real>& slice, std::size_t r) {
        Real s = 0, p = 1, e = 0, magnitude = 0, rest = 0;
        for (const Real value : slice) rest += value, magnitude += std::fabs(value);
        for (std::size_t a = 0; a < v.axis; ++a) {
          const std::size_t k = full_index(v, r, a);
          CHECK(close<T>(back[k], rest, magnitude, 100));
          s += slice[a], p *= slice[a], e += std::exp(slice[a]), rest -= slice[a];
          CHECK(close<T>(sum[k], s, magnitude, 100));
          CHECK(close<T>(product[k], p, std::fabs(p), double(v.axis)));
          CHECK(close<T>(logs[k], std::log(e), std::fabs(std::log(e)) + 1, 30));
        }
      });
    }
}

TEST_CASE("reduce: logcumsumexp passes over impossible beginnings") {
  for (const auto& isa : tables<ReduceKernels<double>>()) {
    INFO(isa.name);
    const double x[] = {-inf, -inf, 1, -inf, 2}, g[] = {1, 1, 1, 1, 1};
    double y[5], out[5];
    isa.table->logcumsumexp(x, {1, 5, 1}, y);
    CHECK(y[1] == -inf);
    CHECK(y[3] == 1);
    CHECK(y[4] == doctest::Approx(std::log(std::exp(1.0) + std::exp(2.0))).epsilon(1e-15));
    isa.table->logcumsumexp_backward(g, x, y, {1, 5, 1}, out, false);
    CHECK(out[0] == 0);
    CHECK(out[3] == 0);
    CHECK(out[2] == doctest::Approx(2 + 1 / (1 + std::exp(1.0))).epsilon(1e-14));
  }
}
