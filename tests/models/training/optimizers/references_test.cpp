#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/models/training/optimizer.hpp>

using namespace tapestry;

// Each method against the formulas of its paper, as plain loops in double over several steps.
namespace {

constexpr std::size_t n = 37;
constexpr int steps = 12;
using Numbers = std::vector<double>;

Numbers random_numbers(unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Numbers x(n);
  for (double& v : x) v = normal(random);
  return x;
}

// What a paper calls theta, changed by its step t = 1, 2, ... with gradient g.
using Method = std::function<void(Numbers& p, const Numbers& g, int t)>;

template <class T>
void compare(Optimizer<T>& optimizer, Var<T> x, const Method& method) {
  Numbers expected = random_numbers(1);
  Tensor<T> value = x.tensor();
  for (std::size_t i = 0; i < n; ++i) value(i) = static_cast<T>(expected[i]);
  x.assign(value);
  expected.assign(value.begin(), value.end());
  for (int t = 1; t <= steps; ++t) {
    Numbers g = random_numbers(static_cast<unsigned>(t) + 5);
    for (std::size_t i = 0; i < n; ++i) value(i) = static_cast<T>(g[i]), g[i] = static_cast<double>(value(i));
    x.set_gradient(value);
    optimizer.step();
    method(expected, g, t);
    for (std::size_t i = 0; i < n; ++i)
      CHECK(std::fabs(static_cast<double>(x.data()[i]) - expected[i]) <
            40 * static_cast<double>(std::numeric_limits<T>::epsilon()) * (1 + std::fabs(expected[i])));
  }
}

template <template <class> class Method_, class Options>
void check(const Options& options, const std::function<Method()>& method) {
  Var<double> x = Var<double>::filled({static_cast<std::int64_t>(n)}, 0.0, true);
  Method_<double> in_double({x}, options);
  compare(in_double, x, method());
  Var<float> y = Var<float>::filled({static_cast<std::int64_t>(n)}, 0.f, true);
  Method_<float> in_float({y}, options);
  compare(in_float, y, method());
}

// Elementwise methods with up to three arrays of state.
using Rule = std::function<double(double p, double g, double* state, int t)>;
std::function<Method()> elementwise(const Rule& rule, double initial = 0) {
  return [=] {
    return [=, state = Numbers(3 * n, initial)](Numbers& p, const Numbers& g, int t) mutable {
      for (std::size_t i = 0; i < n; ++i) p[i] = rule(p[i], g[i], &state[3 * i], t);
    };
  };
}

}  // namespace

TEST_CASE("optimizers: SGD, with momentum, Nesterov's, dampening and decay") {
  check<Sgd>(SgdOptions{.rate = 0.1, .weight_decay = 0.1},
             elementwise([](double p, double g, double*, int) { return p - 0.1 * (g + 0.1 * p); }));
  check<Sgd>(SgdOptions{.rate = 0.1, .momentum = 0.9, .dampening = 0.3},
             elementwise([](double p, double g, double* s, int) {
               s[0] = 0.9 * s[0] + 0.7 * g;
               return p - 0.1 * s[0];
             }));
  check<Sgd>(SgdOptions{.rate = 0.1, .momentum = 0.8, .nesterov = true},
             elementwise([](double p, double g, double* s, int) {
               s[0] = 0.8 * s[0] + g;
               return p - 0.1 * (g + 0.8 * s[0]);
             }));
}

TEST_CASE("optimizers: Adagrad, Adadelta, RMSProp, RProp") {
  check<Adagrad>(AdagradOptions{.rate = 0.1, .initial = 0.5, .epsilon = 1e-3},
                 elementwise(
                     [](double p, double g, double* s, int) {
                       s[0] += g * g;
                       return p - 0.1 * g / (std::sqrt(s[0]) + 1e-3);
                     },
                     0.5));
  check<Adadelta>(AdadeltaOptions{.rate = 2, .decay = 0.8, .epsilon = 1e-2},
                  elementwise([](double p, double g, double* s, int) {
                    s[0] = 0.8 * s[0] + 0.2 * g * g;
                    const double d = std::sqrt(s[1] + 1e-2) / std::sqrt(s[0] + 1e-2) * g;
                    s[1] = 0.8 * s[1] + 0.2 * d * d;
                    return p - 2 * d;
                  }));
  for (const bool centered : {false, true})
    for (const double momentum : {0.0, 0.5})
      check<Rmsprop>(
          RmspropOptions{.rate = 0.1, .decay = 0.7, .epsilon = 0.1, .momentum = momentum, .centered = centered},
          elementwise([=](double p, double g, double* s, int) {
            s[0] = 0.7 * s[0] + 0.3 * g * g;
            s[1] = 0.7 * s[1] + 0.3 * g;
            const double variance = centered ? s[0] - s[1] * s[1] : s[0];
            s[2] = momentum * s[2] + g / (std::sqrt(variance) + 0.1);
            return p - 0.1 * s[2];
          }));
  check<Rprop>(RpropOptions{.initial = 0.02, .smallest = 0.015, .largest = 0.03},
               elementwise(
                   [](double p, double g, double* s, int t) {
                     const double before = t == 1 ? 0 : s[0];
                     if (before * g > 0) s[1] = std::min(1.2 * s[1], 0.03);
                     if (before * g < 0) s[1] = std::max(0.5 * s[1], 0.015), g = 0;
                     s[0] = g;
                     return p - (g > 0 ? s[1] : g < 0 ? -s[1] : 0.0);
                   },
                   0.02));
}

TEST_CASE("optimizers: Adam, AdamW, AMSGrad") {
  for (const int kind : {0, 1, 2}) {
    const auto rule = elementwise([=](double p, double g, double* s, int t) {
      if (kind == 0) g += 0.1 * p;
      const double decayed = kind == 1 ? p - 0.01 * 0.1 * p : p;
      s[0] = 0.9 * s[0] + 0.1 * g;
      s[1] = 0.99 * s[1] + 0.01 * g * g;
      s[2] = std::max(s[2], s[1]);
      const double mean = s[0] / (1 - std::pow(0.9, t)), variance = s[kind == 2 ? 2 : 1] / (1 - std::pow(0.99, t));
      return decayed - 0.01 * mean / (std::sqrt(variance) + 1e-3);
    });
    if (kind == 0) check<Adam>(AdamOptions{.rate = 0.01, .beta2 = 0.99, .epsilon = 1e-3, .weight_decay = 0.1}, rule);
    if (kind == 1) check<AdamW>(AdamWOptions{.rate = 0.01, .beta2 = 0.99, .epsilon = 1e-3, .weight_decay = 0.1}, rule);
    if (kind == 2) check<AmsGrad>(AdamOptions{.rate = 0.01, .beta2 = 0.99, .epsilon = 1e-3}, rule);
  }
}

TEST_CASE("optimizers: NAdam by Dozat's products of momenta") {
  check<NAdam>(NAdamOptions{.rate = 0.01, .beta2 = 0.99, .epsilon = 1e-3, .momentum_decay = 0.5},
               elementwise([](double p, double g, double* s, int t) {
                 const auto momentum = [](int k) { return 0.9 * (1 - 0.5 * std::pow(0.96, 0.5 * k)); };
                 double product = 1;
                 for (int k = 1; k <= t; ++k) product *= momentum(k);
                 s[0] = 0.9 * s[0] + 0.1 * g;
                 s[1] = 0.99 * s[1] + 0.01 * g * g;
                 const double mean =
                     momentum(t + 1) * s[0] / (1 - product * momentum(t + 1)) + (1 - momentum(t)) * g / (1 - product);
                 return p - 0.01 * mean / (std::sqrt(s[1] / (1 - std::pow(0.99, t))) + 1e-3);
               }));
}

TEST_CASE("optimizers: RAdam before and after its variance can be told") {
  // With beta2 = 0.99 the change comes between steps 4 and 5.
  int plain = 0, adaptive = 0;
  check<RAdam>(RAdamOptions{.rate = 0.01, .beta2 = 0.99, .epsilon = 1e-3},
               elementwise([&](double p, double g, double* s, int t) {
                 const double longest = 2 / (1 - 0.99) - 1;
                 const double length = longest - 2 * t * std::pow(0.99, t) / (1 - std::pow(0.99, t));
                 s[0] = 0.9 * s[0] + 0.1 * g;
                 s[1] = 0.99 * s[1] + 0.01 * g * g;
                 const double mean = s[0] / (1 - std::pow(0.9, t));
                 if (length <= 4) return ++plain, p - 0.01 * mean;
                 ++adaptive;
                 const double r =
                     std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
                 return p - 0.01 * r * mean / (std::sqrt(s[1] / (1 - std::pow(0.99, t))) + 1e-3);
               }));
  CHECK(plain > 0);
  CHECK(adaptive > 0);
}

TEST_CASE("optimizers: LAMB scales by the norms of the whole parameter") {
  check<Lamb>(LambOptions{.rate = 0.05, .beta2 = 0.99, .epsilon = 1e-3, .weight_decay = 0.1}, [] {
    return [m = Numbers(n), v = Numbers(n)](Numbers& p, const Numbers& g, int t) mutable {
      Numbers d(n);
      double pp = 0, dd = 0;
      for (std::size_t i = 0; i < n; ++i) {
        m[i] = 0.9 * m[i] + 0.1 * g[i];
        v[i] = 0.99 * v[i] + 0.01 * g[i] * g[i];
        d[i] = m[i] / (1 - std::pow(0.9, t)) / (std::sqrt(v[i] / (1 - std::pow(0.99, t))) + 1e-3) + 0.1 * p[i];
        pp += p[i] * p[i];
        dd += d[i] * d[i];
      }
      for (std::size_t i = 0; i < n; ++i) p[i] -= 0.05 * std::sqrt(pp / dd) * d[i];
    };
  });
  Var<double> zero = Var<double>::filled({2}, 0.0, true);
  Lamb<double> lamb({zero}, {.rate = 0.1});
  zero.set_gradient(Tensor<double>{1.0, -2.0});
  lamb.step();
  CHECK(zero.value()(0) == doctest::Approx(-0.1).epsilon(1e-5));
}

namespace {

// Runs a method with decay beside the same without, which gets the decay in its gradients or (decoupled) by hand.
template <class Method_, class Options>
void check_decay(Options options, bool decoupled) {
  constexpr double decay = 0.2;
  Var<double> x(Tensor<double>{1.0, -2.0, 0.5}, true), y(Tensor<double>{1.0, -2.0, 0.5}, true);
  options.weight_decay = 0;
  Method_ plain({y}, options);
  options.weight_decay = decay;
  Method_ decayed({x}, options);
  for (unsigned t = 1; t <= steps; ++t) {
    const Numbers noise = random_numbers(t);
    const Tensor<double> gradient{noise[0], noise[1], noise[2]}, before = y.tensor();
    x.set_gradient(gradient);
    y.set_gradient(decoupled ? gradient : Tensor<double>(gradient + decay * before));
    decayed.step();
    plain.step();
    if (decoupled) y.assign(y.tensor() - plain.rate() * decay * before);
    for (std::size_t i = 0; i < 3; ++i) CHECK(x.value()(i) == doctest::Approx(y.value()(i)).epsilon(1e-13));
  }
}

}  // namespace

TEST_CASE("optimizers: the decay of every method is a part of the gradient, or decoupled from it") {
  check_decay<Sgd<double>>(SgdOptions{.rate = 0.1, .momentum = 0.9, .nesterov = true}, false);
  check_decay<Adagrad<double>>(AdagradOptions{.rate = 0.1}, false);
  check_decay<Adadelta<double>>(AdadeltaOptions{.rate = 2}, false);
  check_decay<Rmsprop<double>>(RmspropOptions{.rate = 0.05, .momentum = 0.5, .centered = true}, false);
  check_decay<Rprop<double>>(RpropOptions{}, false);
  check_decay<AdamW<double>>(AdamWOptions{.rate = 0.05}, true);
  for (const bool decoupled : {false, true}) {
    check_decay<Adam<double>>(AdamOptions{.rate = 0.05, .decoupled = decoupled}, decoupled);
    check_decay<AmsGrad<double>>(AdamOptions{.rate = 0.05, .decoupled = decoupled}, decoupled);
    check_decay<NAdam<double>>(NAdamOptions{.rate = 0.05, .decoupled = decoupled}, decoupled);
    check_decay<RAdam<double>>(RAdamOptions{.rate = 0.05, .beta2 = 0.9, .decoupled = decoupled}, decoupled);
  }
}
