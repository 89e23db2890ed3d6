#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/ops/cumulative.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>

namespace tapestry::detail {
namespace {

// f of each column [i, :, j] of a [2, 3, 4] tensor, at position i, j.
template <class F>
Tensor<double> of_columns(const Tensor<double>& x, F f) {
  return tabulate({2, 4}, [&](const auto& i) {
    return f(std::vector<double>{x(i[0], 0, i[1]), x(i[0], 1, i[1]), x(i[0], 2, i[1])});
  });
}

double total(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value;
  return sum;
}

double squares(std::vector<double> x, double mean) {
  for (double& value : x) value = (value - mean) * (value - mean);
  return total(x);
}

double sum_exp(const Tensor<double>& x, std::size_t i, std::size_t j, std::size_t last = 2) {
  double sum = 0;
  for (std::size_t a = 0; a <= last; ++a) sum += std::exp(x(i, a, j));
  return sum;
}

using Column = std::vector<double>;

void register_over_axes(Registry& r) {
  const auto cube = uniform_example({2, 3, 4}), distinct = distinct_example({2, 3, 4});
  r.add("prod", {cube}, [](const auto& x) { return prod(x[0], {1}); }).reference = [](const auto& x) {
    return of_columns(x[0], [](const Column& c) { return c[0] * c[1] * c[2]; });
  };
  r.add("prod_with_zeros", {fixed_example({{0, 2, 3}, {0, 0, 4}, {1, 2, 3}})}, [](const auto& x) {
     return prod(x[0], {1});
   }).reference = [](const auto&) {
    return Tensor<double>{0, 0, 6};
  };
  r.add("max", {distinct}, [](const auto& x) { return max(x[0], {1}); }).reference = [](const auto& x) {
    return of_columns(x[0], [](const Column& c) { return *std::max_element(c.begin(), c.end()); });
  };
  r.add("max_axes_apart", {distinct}, [](const auto& x) {
     return max(x[0], {0, 2});
   }).reference = [](const auto& x) {
    return tabulate({3}, [&](const auto& i) {
      double best = x[0](0, i[0], 0);
      for (std::size_t a = 0; a < 2; ++a)
        for (std::size_t b = 0; b < 4; ++b) best = std::max(best, x[0](a, i[0], b));
      return best;
    });
  };
  r.add("min", {distinct}, [](const auto& x) { return min(x[0], {1}); }).reference = [](const auto& x) {
    return of_columns(x[0], [](const Column& c) { return *std::min_element(c.begin(), c.end()); });
  };
  r.add("variance", {cube}, [](const auto& x) { return variance(x[0], {1}, 1); }).reference = [](const auto& x) {
    return of_columns(x[0], [](const Column& c) { return squares(c, total(c) / 3) / 2; });
  };
  r.add("stddev", {cube}, [](const auto& x) { return stddev(x[0], {1}); }).reference = [](const auto& x) {
    return of_columns(x[0], [](const Column& c) { return std::sqrt(squares(c, total(c) / 3) / 3); });
  };
  r.add("norm", {cube}, [](const auto& x) { return norm(x[0], 2, {1}); }).reference = [](const auto& x) {
    return of_columns(x[0], [](const Column& c) { return std::sqrt(squares(c, 0)); });
  };
  r.add("norm_1", {distinct}, [](const auto& x) { return norm(x[0], 1, {1}); }).reference = [](const auto& x) {
    return of_columns(x[0], [](const Column& c) { return std::abs(c[0]) + std::abs(c[1]) + std::abs(c[2]); });
  };
  r.add("norm_infinity", {distinct}, [](const auto& x) {
     return norm(x[0], std::numeric_limits<double>::infinity(), {1});
   }).reference = [](const auto& x) {
    return of_columns(x[0], [](const Column& c) { return std::max({std::abs(c[0]), std::abs(c[1]), std::abs(c[2])}); });
  };
  r.add("logsumexp", {cube}, [](const auto& x) { return logsumexp(x[0], {1}); }).reference = [](const auto& x) {
    return tabulate({2, 4}, [&](const auto& i) { return std::log(sum_exp(x[0], i[0], i[1])); });
  };
}

void register_along_axis(Registry& r) {
  const auto cube = uniform_example({2, 3, 4});
  // Squared, as the sum of a softmax has no gradient.
  r.add("softmax", {cube}, [](const auto& x) { return square(softmax(x[0], 1)); }).reference = [](const auto& x) {
    return tabulate({2, 3, 4}, [&](const auto& i) {
      const double p = std::exp(x[0](i[0], i[1], i[2])) / sum_exp(x[0], i[0], i[2]);
      return p * p;
    });
  };
  r.add("log_softmax", {cube}, [](const auto& x) { return log_softmax(x[0], 1); }).reference = [](const auto& x) {
    return tabulate({2, 3, 4},
                    [&](const auto& i) { return x[0](i[0], i[1], i[2]) - std::log(sum_exp(x[0], i[0], i[2])); });
  };
  r.add("cumsum", {cube}, [](const auto& x) { return cumsum(x[0], 1); }).reference = [](const auto& x) {
    Tensor<double> y = x[0];
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t a = 1; a < 3; ++a)
        for (std::size_t j = 0; j < 4; ++j) y(i, a, j) += y(i, a - 1, j);
    return y;
  };
  r.add("cumprod", {cube}, [](const auto& x) { return cumprod(x[0], 1); }).reference = [](const auto& x) {
    Tensor<double> y = x[0];
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t a = 1; a < 3; ++a)
        for (std::size_t j = 0; j < 4; ++j) y(i, a, j) *= y(i, a - 1, j);
    return y;
  };
  r.add("cumprod_with_zeros", {fixed_example({2, 0, 3, 0, 4})}, [](const auto& x) {
     return cumprod(x[0], 0);
   }).reference = [](const auto&) {
    return Tensor<double>{2, 0, 0, 0, 0};
  };
  r.add("logcumsumexp", {cube}, [](const auto& x) { return logcumsumexp(x[0], 1); }).reference = [](const auto& x) {
    return tabulate({2, 3, 4}, [&](const auto& i) { return std::log(sum_exp(x[0], i[0], i[2], i[1])); });
  };
  r.add("linear_recurrence", {cube, cube}, [](const auto& x) {
     return linear_recurrence(x[0], x[1], 1, true);
   }).reference = [](const auto& x) {
    Tensor<double> y = x[1];
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t a = 2; a-- > 0;)
        for (std::size_t j = 0; j < 4; ++j) y(i, a, j) += x[0](i, a, j) * y(i, a + 1, j);
    return y;
  };
}

}  // namespace

void register_statistics(Registry& r) {
  register_over_axes(r);
  register_along_axis(r);
}

}  // namespace tapestry::detail
