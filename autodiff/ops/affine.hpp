#pragma once

#include <cstdint>

#include <tapestry/autodiff/ops/linear.hpp>

// activation(x W + b) but for the products. y and g have `rows` rows of `out` elements.
namespace tapestry::detail {

/// y = activation(y + b); without a bias b is null.
template <class T>
void add_bias_and_activate(Activation activation, std::int64_t rows, std::int64_t out, const T* bias, T* y);

/// The gradient gz of the sum before the activation, from the result y (neither is used without an activation), and
/// where `bias` is given, its sum over the rows is added there.
template <class T>
void before_activation(Activation activation, std::int64_t rows, std::int64_t out, const T* g, const T* y, T* gz,
                       T* bias);

}  // namespace tapestry::detail
