#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

// What tests of kernels with analytic gradients share: a random weight for each result, and central differences of the
// weighted sum.

inline std::vector<double> random_weights(std::size_t n) {
  std::mt19937_64 random(99);
  std::vector<double> w(n);
  for (double& x : w) x = std::normal_distribution<double>()(random);
  return w;
}

/// The largest error, relative where numbers are above one; equal infinities have none.
template <class T>
double worst(const std::vector<T>& actual, const std::vector<double>& expected) {
  double out = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (static_cast<double>(actual[i]) == expected[i]) continue;
    const double error = std::abs(static_cast<double>(actual[i]) - expected[i]) / std::max(1.0, std::abs(expected[i]));
    out = error <= out ? out : std::isnan(error) ? 1e300 : error;
  }
  return out;
}

/// The derivatives of the weighted results of `compute` along each finite coordinate of `values`, which it reads;
/// results of -inf do not count.
template <class Compute>
std::vector<double> differences(std::vector<double>& values, Compute compute) {
  constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
  const auto f = [&] {
    const auto results = compute();
    const auto w = random_weights(results.size());
    double sum = 0;
    for (std::size_t i = 0; i < results.size(); ++i) sum += results[i] == minus_infinity ? 0 : w[i] * results[i];
    return sum;
  };
  std::vector<double> out;
  for (double& x : values) {
    const double before = x, h = 1e-4;
    x = before + h;
    const double up = f();
    x = before - h;
    const double down = f();
    x = before;
    out.push_back(before == minus_infinity ? 0 : (up - down) / (2 * h));
  }
  return out;
}
