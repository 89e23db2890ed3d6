#pragma once

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/graph/module.hpp>

/// Checks the gradient of a layer's output, in a non-linear function, by inputs and by all of its parameters.
template <class Layer, class F>
void check_layer(Layer& layer, std::vector<tapestry::Var<double>> inputs, const F& forward) {
  using namespace tapestry;
  // A visitor that puts the checked variables in the place of the parameters.
  struct Replace final : Members {
    const std::vector<Var<double>>* values;
    std::size_t next;
    void parameter(Var<double>& variable) override { variable = (*values)[next++]; }
  };
  const std::size_t given = inputs.size();
  const auto originals = parameters<double>(layer);
  std::vector<Var<double>> all = inputs;
  for (const auto& parameter : originals) all.push_back(variable(parameter.tensor()));
  const auto put = [&](const std::vector<Var<double>>& values, std::size_t first) {
    Replace replace;
    replace.values = &values;
    replace.next = first;
    layer.members(replace);
  };
  CHECK_NOTHROW(check_gradients(
      [&](const std::vector<Var<double>>& x) {
        put(x, given);
        const Var<double> y = forward(x);
        Tensor<double> weights = y.tensor();
        for (std::size_t i = 0; i < weights.size(); ++i) weights.data()[i] = 1.0 + 0.1 * static_cast<double>(i % 7);
        return sum(Var<double>(weights) * square(y));
      },
      all, {.forward_mode = false}));
  put(originals, 0);
}
