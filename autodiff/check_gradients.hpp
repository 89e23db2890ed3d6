#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <tapestry/autodiff/derivatives.hpp>

namespace tapestry {

struct CheckGradientsOptions {
  /// 1: gradients; 2: gradients of gradients as well.
  int order = 1;
  /// Random directions for each order.
  int directions = 2;
  /// Allowed |analytic - numeric| / max(1, |numeric|).
  double tolerance = 1e-6;
  /// Of the central difference in double.
  double step = 1e-5;
  std::uint64_t seed = 1;
  /// Compare forward mode too.
  bool forward_mode = true;
  /// For messages.
  std::string name = "check_gradients";
};

/// Compares the derivatives of f at the inputs with central differences in random directions: reverse and forward mode,
/// and for order 2 the gradients of gradients.
/// @throws NumericalError naming the function, the order, the direction and both numbers
void check_gradients(const Function<double>& f, const std::vector<Var<double>>& inputs,
                     CheckGradientsOptions options = {});

}  // namespace tapestry
