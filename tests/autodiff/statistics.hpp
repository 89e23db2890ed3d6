#pragma once

#include <tapestry/autodiff/tensor.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include <doctest/doctest.h>

namespace tapestry::test {

using Numbers = std::vector<double>;

template <class T>
Numbers numbers(const Tensor<T>& x) {
  return Numbers(x.begin(), x.end());
}

inline double mean(const Numbers& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

/// Mean and variance within 5 standard errors (a false alarm in 1.7 million); the error of the variance from the
/// distribution's kurtosis.
inline void check_moments(const Numbers& x, double expected_mean, double expected_variance, double kurtosis = 3) {
  const double n = static_cast<double>(x.size()), m = mean(x);
  double variance = 0;
  for (const double v : x) variance += (v - expected_mean) * (v - expected_mean) / n;
  CHECK(std::abs(m - expected_mean) < 5 * std::sqrt(expected_variance / n));
  CHECK(std::abs(variance - expected_variance) < 5 * expected_variance * std::sqrt((kurtosis - 1) / n));
}

/// Kolmogorov and Smirnov's distance below the critical value at p = 1e-6: sqrt(log(2 / p) / 2) = 2.69.
template <class Cdf>
void check_distribution(Numbers x, Cdf cdf) {
  std::sort(x.begin(), x.end());
  const double n = static_cast<double>(x.size());
  double distance = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double f = cdf(x[i]);
    distance = std::max({distance, f - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - f});
  }
  CHECK(distance * std::sqrt(n) < 2.69);
}

/// Chi-square below its quantile at p = 1e-6, by Wilson and Hilferty's approximation (z = 4.75).
inline void check_counts(const std::vector<double>& counts, const std::vector<double>& probabilities) {
  const double n = std::accumulate(counts.begin(), counts.end(), 0.0);
  double chi = 0, k = -1;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = n * probabilities[i];
    if (probabilities[i] == 0) {
      CHECK(counts[i] == 0);
      continue;
    }
    chi += (counts[i] - expected) * (counts[i] - expected) / expected;
    k += 1;
  }
  const double cube = 1 - 2 / (9 * k) + 4.75 * std::sqrt(2 / (9 * k));
  CHECK(chi < k * cube * cube * cube);
}

inline double normal_cdf(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0));
}

inline double correlation(const Numbers& x, const Numbers& y, std::size_t lag = 0) {
  const double mx = mean(x), my = mean(y);
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i + lag < x.size(); ++i) {
    xy += (x[i] - mx) * (y[i + lag] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i + lag] - my) * (y[i + lag] - my);
  }
  return xy / std::sqrt(xx * yy);
}

template <class T>
bool same_bits(const Tensor<T>& a, const Tensor<T>& b) {
  return shape_of(a) == shape_of(b) && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// The size of samples whose distribution is tested.
constexpr std::int64_t many = 200000;

}  // namespace tapestry::test
