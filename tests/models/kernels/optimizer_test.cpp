#include <tapestry/models/kernels/optimizer.hpp>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

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
