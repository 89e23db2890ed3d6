#pragma once

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/registry.hpp>

// What the walks over the registry share.
namespace tapestry::testing {

using Tensors = std::vector<Tensor<double>>;

inline Tensors examples(const RegisteredOperation& op, std::uint64_t seed) {
  Tensors out;
  for (const ExampleInput& input : op.inputs) out.push_back(input(seed + out.size()));
  return out;
}

inline std::vector<Var<double>> constants(const Tensors& inputs) {
  std::vector<Var<double>> out;
  for (const Tensor<double>& input : inputs) out.emplace_back(input);
  return out;
}

inline Shape common_shape(const Tensors& inputs) {
  Shape out;
  for (const Tensor<double>& input : inputs) out = broadcast("common_shape", out, shape_of(input));
  return out;
}

/// The reference's result, whose inputs are broadcast first where the operation does that.
inline Tensor<double> expected(const RegisteredOperation& op, Tensors inputs) {
  if (op.elementwise) {
    const Shape shape = common_shape(inputs);
    for (Tensor<double>& input : inputs) {
      Tensor<double> whole = empty_tensor<double>(shape);
      // Position by position: the axes of the input are the last ones, and those of extent 1 stand still.
      const Shape part = shape_of(input);
      for (std::int64_t i = 0; i < shape.elements(); ++i) {
        std::int64_t rest = i, at = 0, stride = 1;
        for (int axis = shape.rank() - 1; axis >= 0; --axis) {
          const std::int64_t place = rest % shape[axis];
          rest /= shape[axis];
          const int own = axis - shape.rank() + part.rank();
          if (own < 0) continue;
          if (part[own] != 1) at += place * stride;
          stride *= part[own];
        }
        whole.data()[i] = input.data()[at];
      }
      input = whole;
    }
  }
  return op.reference(inputs);
}

/// Equal to a relative and absolute error, or the same infinity, or both not a number.
inline bool close(double a, double b, double tolerance) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (std::isinf(a) || std::isinf(b)) return a == b;
  return std::abs(a - b) <= tolerance * std::max(1.0, std::abs(b));
}

inline double largest(const Tensor<double>& x) {
  double out = 1e-300;
  for (const double value : x)
    if (std::isfinite(value)) out = std::max(out, std::abs(value));
  return out;
}

}  // namespace tapestry::testing
