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

}  // namespace

TEST_CASE_TEMPLATE("optimizer kernels: descent with momentum, Nesterov's and decay, over several steps", T, float,
                   double) {
  for (const auto& isa : tables<OptimizerKernels<T>>())
    for (const double momentum : {0.0, 0.9})
      for (const bool nesterov : {false, true}) {
        INFO(isa.name, " momentum ", momentum, " nesterov ", nesterov);
        const double rate = 0.1, dampening = nesterov ? 0 : 0.2, decay = 0.01, scale = 0.5;
        std::vector<T> p = random_values<T>(n, 1), v(n, std::numeric_limits<T>::quiet_NaN());
        std::vector<double> expected(p.begin(), p.end()), velocity(n);
        for (int t = 0; t < 4; ++t) {
          const std::vector<T> g = random_values<T>(n, 10 + unsigned(t));
          isa.table->sgd(p.data(), g.data(), momentum == 0 ? nullptr : v.data(), n,
                         {T(rate), T(momentum), T(dampening), T(decay), T(scale), nesterov, t == 0});
          for (std::size_t i = 0; i < n; ++i) {
            const double gradient = scale * double(g[i]) + decay * expected[i];
            velocity[i] = t == 0 ? gradient : momentum * velocity[i] + (1 - dampening) * gradient;
            const double direction = momentum == 0 ? gradient
                                     : nesterov    ? gradient + momentum * velocity[i]
                                                   : velocity[i];
            expected[i] -= rate * direction;
          }
        }
        for (std::size_t i = 0; i < n; ++i)
          CHECK(std::fabs(double(p[i]) - expected[i]) <= 8 * double(std::numeric_limits<T>::epsilon()));
      }
}

TEST_CASE_TEMPLATE("optimizer kernels: Adam with both kinds of decay, over several steps", T, float, double) {
  for (const auto& isa : tables<OptimizerKernels<T>>())
    for (const bool decoupled : {false, true}) {
      INFO(isa.name, " decoupled ", decoupled);
      const double rate = 0.01, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0.1, scale = 2;
      std::vector<T> p = random_values<T>(n, 1), m(n), s(n);
      std::vector<double> expected(p.begin(), p.end()), mean(n), variance(n);
      for (int t = 1; t <= 5; ++t) {
        const std::vector<T> g = random_values<T>(n, 10 + unsigned(t));
        const double c1 = 1 - std::pow(beta1, t), c2 = 1 - std::pow(beta2, t);
        isa.table->adam(p.data(), g.data(), m.data(), s.data(), n,
                        {T(rate), T(beta1), T(beta2), T(epsilon), T(decay), T(scale), T(c1), T(c2), decoupled});
        for (std::size_t i = 0; i < n; ++i) {
          double gradient = scale * double(g[i]);
          if (decoupled)
            expected[i] *= 1 - rate * decay;
          else
            gradient += decay * expected[i];
          mean[i] = beta1 * mean[i] + (1 - beta1) * gradient;
          variance[i] = beta2 * variance[i] + (1 - beta2) * gradient * gradient;
          expected[i] -= rate * (mean[i] / c1) / (std::sqrt(variance[i] / c2) + epsilon);
        }
      }
      // 1 - beta2 alone carries a relative error of 500 roundings in float.
      for (std::size_t i = 0; i < n; ++i)
        CHECK(std::fabs(double(p[i]) - expected[i]) <= 50 * double(std::numeric_limits<T>::epsilon()));
    }
}
