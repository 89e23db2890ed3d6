#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/derivatives.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>

namespace tapestry::testing {

/// Normally distributed values.
template <class T = double>
Tensor<T> normal_values(const Shape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Tensor<T> out = empty_tensor<T>(shape);
  for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = static_cast<T>(normal(random));
  return out;
}

template <class T>
void check_close(const Var<T>& a, const Var<T>& b, double tolerance) {
  REQUIRE(a.shape() == b.shape());
  for (std::int64_t i = 0; i < a.size(); ++i)
    CHECK(static_cast<double>(a.data()[i]) ==
          doctest::Approx(static_cast<double>(b.data()[i])).epsilon(tolerance).scale(1));
}

/// The gradients of <random seed, f(inputs)> as the fused backward gives them are those of the rule in operations, also
/// where they are added to gradients that are there already.
template <class F>
void check_fused_backward_at(F f, const std::vector<Var<double>>& x, double tolerance) {
  const Var<double> y = f(x);
  const Var<double> seed(normal_values(y.shape(), 3));
  const auto rule = grad(y, x, seed, {.create_graph = true});
  const auto fused = grad(y, x, seed, {.retain_graph = true});
  for (std::size_t i = 0; i < x.size(); ++i) check_close(fused[i], rule[i], tolerance);
  const Var<double> twice = f(x);
  const auto sum = grad(y + y + twice, x, seed);
  for (std::size_t i = 0; i < x.size(); ++i) check_close(sum[i], rule[i] * 3.0, 3 * tolerance);
}
/// The same at normally distributed values of these shapes.
template <class F>
void check_fused_backward(F f, const std::vector<Shape>& shapes, double tolerance = 1e-12) {
  std::vector<Var<double>> x;
  for (const Shape& shape : shapes) x.emplace_back(normal_values(shape, static_cast<unsigned>(7 + x.size())), true);
  check_fused_backward_at(f, x, tolerance);
}

}  // namespace tapestry::testing
