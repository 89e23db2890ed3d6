#include <tapestry/models/kernels/optimizer.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/kernels/few_rows.hpp>

#include "autodiff/kernels/architectures.hpp"

using namespace tapestry::detail;
using tapestry::test::tables;

namespace {

template <class T>
std::vector<T> random_values(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> x(n);
  for (T& v : x) v = T(uniform(random));
  return x;
}

constexpr std::size_t n = 173;
constexpr int steps = 4;

template <class T>
UpdateTerms<T> all_terms() {
  return {.gradient_scale = T(0.75), .gradient_limit = T(0.5), .l2 = T(0.01), .shrink = T(0.99), .threshold = T(0.001)};
}

// Runs a kernel some steps over an array of n elements and, as a reference for partial vectors, over each element by
// itself; the two, and all instruction sets, must agree to rounding.
template <class T, class Kernel, class Step>
std::vector<T> check_kernel(Kernel kernel, const Step& step, const UpdateTerms<T>& terms) {
  std::vector<T> whole = random_values<T>(n, 1), single = whole, state(4 * n), single_state(4 * n);
  for (int t = 0; t < steps; ++t) {
    const std::vector<T> g = random_values<T>(n, 10 + unsigned(t));
    T* const parts[] = {&state[0], &state[n], &state[2 * n], &state[3 * n]};
    kernel(whole.data(), g.data(), parts, n, terms, step);
    for (std::size_t i = 0; i < n; ++i) {
      T* const own[] = {&single_state[i], &single_state[n + i], &single_state[2 * n + i], &single_state[3 * n + i]};
      kernel(&single[i], &g[i], own, 1, terms, step);
    }
  }
  for (std::size_t i = 0; i < n; ++i) CHECK(whole[i] == single[i]);
  for (std::size_t i = 0; i < 4 * n; ++i) CHECK(state[i] == single_state[i]);
  return whole;
}

template <class T, class Table, class Member, class Step>
void check_everywhere(Member member, const Step& step) {
  std::vector<T> first;
  for (const auto& isa : tables<Table>()) {
    INFO(isa.name);
    const std::vector<T> result = check_kernel<T>((*isa.table).*member, step, all_terms<T>());
    if (first.empty()) first = result;
    for (std::size_t i = 0; i < n; ++i) CHECK(std::fabs(result[i] - first[i]) <= 8 * std::numeric_limits<T>::epsilon());
  }
}

}  // namespace

TEST_CASE_TEMPLATE("optimizer kernels: partial vectors and all instruction sets agree", T, float, double) {
  using D = DescentKernels<T>;
  check_everywhere<T, D>(&D::sgd, SgdStep<T>{.rate = T(0.1)});
  check_everywhere<T, D>(&D::sgd, SgdStep<T>{.rate = T(0.1), .momentum = T(0.9)});
  check_everywhere<T, D>(&D::sgd, SgdStep<T>{.rate = T(0.1), .momentum = T(0.9), .nesterov = true});
  check_everywhere<T, D>(&D::adagrad, AdagradStep<T>{T(0.1), T(1e-8)});
  check_everywhere<T, D>(&D::adadelta, AdadeltaStep<T>{T(1), T(0.9), T(0.1), T(1e-6)});
  check_everywhere<T, D>(&D::rmsprop, RmspropStep<T>{T(0.01), T(0.9), T(0.1), T(1e-3), T(0.5), false});
  check_everywhere<T, D>(&D::rmsprop, RmspropStep<T>{T(0.01), T(0.9), T(0.1), T(1e-3), T(0), true});
  check_everywhere<T, D>(&D::rprop, RpropStep<T>{T(1), T(1.2), T(0.5), T(0.01), T(0.05)});
  using A = AdamKernels<T>;
  AdamStep<T> adam{{T(0.9), T(0.99), T(0.1), T(0.01), T(1e-3)}, T(0.1), T(0.02), T(2)};
  check_everywhere<T, A>(&A::adam, adam);
  adam.keep_largest = true;
  check_everywhere<T, A>(&A::adam, adam);
  adam.adaptive = false;
  check_everywhere<T, A>(&A::adam, adam);
}

TEST_CASE_TEMPLATE("optimizer kernels: NaN gradients stay visible, and nothing behind the end is touched", T, float,
                   double) {
  for (const auto& isa : tables<DescentKernels<T>>()) {
    INFO(isa.name);
    const T nan = std::numeric_limits<T>::quiet_NaN();
    std::vector<T> p{1, 2, 3, 4, 5}, g{0, nan, 1, nan, nan}, a(5, T(0.1)), b(5, T(0.1));
    T* const state[] = {a.data(), b.data()};
    UpdateTerms<T> terms{.gradient_limit = T(1)};
    terms.threshold = T(0.25);
    isa.table->sgd(p.data(), g.data(), state, 3, terms, {.rate = T(1)});
    CHECK(p[0] == T(0.75));
    CHECK(std::isnan(p[1]));
    CHECK(p[2] == T(1.75));
    CHECK(p[3] == T(4));
    isa.table->rprop(p.data() + 3, g.data() + 3, state, 1, terms, {T(1), T(1.2), T(0.5), T(0), T(1)});
    CHECK(std::isnan(p[3]));
    CHECK(p[4] == T(5));
    T tiny[] = {T(0.2), T(-0.2), T(-0.5)}, none[3] = {};
    isa.table->sgd(tiny, none, state, 3, terms, {.rate = T(1)});
    CHECK(tiny[0] == T(0));
    CHECK(tiny[1] == T(0));
    CHECK(tiny[2] == T(-0.25));
  }
}

TEST_CASE_TEMPLATE("optimizer kernels: Adam from the factors of a gradient is Adam from the gradient", T, float,
                   double) {
  constexpr std::int64_t rows = 11, begin = 2, end = 9;
  const UpdateTerms<T> plain{.gradient_limit = std::numeric_limits<T>::infinity()};
  AdamStep<T> adam{{T(0.9), T(0.99), T(0.1), T(0.01), T(1e-3)}, T(0.1), T(0), T(2)}, nadam = adam, amsgrad = adam,
                                                                                     fixed = adam;
  nadam.gradient_rate = T(0.02), amsgrad.keep_largest = true, fixed.adaptive = false;
  const auto sets = tables<AdamKernels<T>>();
  const auto products = tables<FewRowsKernels<T>>();
  for (std::size_t k = 0; k < sets.size(); ++k)
    for (const std::int64_t few : {1, 2, 8, 16, 17})
      for (const std::int64_t columns : {1, 16, 33, 147})
        for (const AdamStep<T>& step : {adam, nadam, amsgrad, fixed})
          for (const bool all : {false, true}) {
            INFO(sets[k].name, ", ", few, " x ", columns, ", all terms: ", all);
            const UpdateTerms<T> terms = all ? all_terms<T>() : plain;
            const std::size_t size = std::size_t(rows * columns);
            const std::vector<T> x = random_values<T>(std::size_t(few * rows), 1),
                                 g = random_values<T>(std::size_t(few * columns), 2);
            std::vector<T> gradient(size), p = random_values<T>(size, 3), q = p;
            products[k].table->outer(rows, columns, few, x.data(), rows, g.data(), columns, false, gradient.data(),
                                     columns);
            std::vector<T> state(3 * size, T(0.25)), other = state;
            const auto at = [&](std::vector<T>& of, std::size_t i) { return of.data() + i * size + begin * columns; };
            for (int t = 0; t < 2; ++t) {
              T* const a[] = {at(state, 0), at(state, 1), at(state, 2)};
              T* const b[] = {at(other, 0), at(other, 1), at(other, 2)};
              sets[k].table->adam(p.data() + begin * columns, gradient.data() + begin * columns, a,
                                  std::size_t((end - begin) * columns), terms, step);
              sets[k].table->adam_rows(q.data() + begin * columns, b, {x.data(), g.data(), few, rows, columns}, begin,
                                       end, terms, step);
            }
            CHECK(p == q);
            CHECK(state == other);
          }
}

TEST_CASE_TEMPLATE("optimizer kernels: Adam's step, and where gradients are zero, infinite or no numbers", T, float,
                   double) {
  const T inf = std::numeric_limits<T>::infinity();
  const AdamStep<T> step{{T(0.9), T(0.99), T(0.1), T(0.01), T(1e-3)}, T(0.5), T(0), T(50)};
  const UpdateTerms<T> plain{.gradient_limit = inf};
  UpdateTerms<T> general = plain;
  general.shrink = T(0.5);
  for (const auto& isa : tables<AdamKernels<T>>())
    for (const UpdateTerms<T>& terms : {plain, general}) {
      INFO(isa.name, " ", terms.shrink);
      // Columns: an ordinary gradient of 0.5 + 0.25, zero, NaN, infinite.
      const std::vector<T> x{T(1), T(0.5)};
      const std::vector<T> g{T(0.5), T(0), T(0), inf, T(0.5), T(0), std::numeric_limits<T>::quiet_NaN(), T(1)};
      std::vector<T> p(4, T(2)), mean(4), variance(4);
      T* const state[] = {mean.data(), variance.data()};
      isa.table->adam_rows(p.data(), state, {x.data(), g.data(), 2, 1, 4}, 0, 1, terms, step);
      const double gradient = 0.75,
                   expected = 0.1 * gradient * 0.5 / (std::sqrt(0.01 * gradient * gradient * 50) + 1e-3);
      CHECK(std::fabs(double(p[0]) - (2 * double(terms.shrink) - expected)) < 8 * std::numeric_limits<T>::epsilon());
      CHECK(p[1] == T(2) * terms.shrink);
      CHECK(variance[1] == T(0));
      CHECK(std::isnan(p[2]));
      CHECK(std::isnan(mean[2]));
      CHECK(std::isnan(p[3]));
      CHECK(variance[3] == inf);
    }
}

TEST_CASE_TEMPLATE("optimizer kernels: Adam's means of gradients that stay zero end at zero", T, float, double) {
  const T least = std::numeric_limits<T>::min();
  AdamStep<T> step{{T(0.5), T(0.99), T(0.5), T(0.01), T(1e-8)}, T(0.1), T(0), T(1)};
  const UpdateTerms<T> terms{.gradient_limit = std::numeric_limits<T>::infinity()};
  const auto run = [&](const AdamKernels<T>& table) {
    T p = 1, g = 0, mean = least / 2, variance = 0;
    T* const state[] = {&mean, &variance};
    table.adam(&p, &g, state, 1, terms, step);
    CHECK(p == T(1));
    return mean;
  };
  for (const auto& isa : tables<AdamKernels<T>>()) {
    INFO(isa.name);
    step.epsilon = T(1e-8);
    CHECK(run(*isa.table) == T(0));
    // The caller's arithmetic is as before.
    volatile T half = least;
    half = half / 2;
    CHECK(half > T(0));
    // With a small epsilon such numbers would count.
    step.epsilon = sizeof(T) == 4 ? T(1e-18) : T(1e-150);
    CHECK(run(*isa.table) == half / 2);
  }
}

TEST_CASE_TEMPLATE("optimizer kernels: LAMB's norms and directions", T, float, double) {
  for (const auto& isa : tables<AdamKernels<T>>())
    for (const std::size_t length : {std::size_t{1}, std::size_t{7}, n}) {
      INFO(isa.name, " ", length);
      const std::vector<T> p = random_values<T>(length, 1), g = random_values<T>(length, 2);
      std::vector<T> mean(length), variance(length), direction(length);
      T* const state[] = {mean.data(), variance.data()};
      double sums[2];
      UpdateTerms<T> terms{.gradient_limit = std::numeric_limits<T>::infinity()};
      isa.table->lamb_direction(p.data(), g.data(), state, direction.data(), length, terms,
                                {{T(0.9), T(0.99), T(0.1), T(0.01), T(1e-3)}, T(10), T(100), T(0.1)}, sums);
      double parameters = 0, directions = 0;
      for (std::size_t i = 0; i < length; ++i) {
        const double d = double(g[i]) / (std::fabs(double(g[i])) + 1e-3) + 0.1 * double(p[i]);
        parameters += double(p[i]) * double(p[i]);
        directions += d * d;
        CHECK(std::fabs(double(direction[i]) - d) < 20 * double(std::numeric_limits<T>::epsilon()));
      }
      CHECK(std::fabs(sums[0] / parameters - 1) < 200 * double(std::numeric_limits<T>::epsilon()));
      CHECK(std::fabs(sums[1] / directions - 1) < 200 * double(std::numeric_limits<T>::epsilon()));
    }
}
