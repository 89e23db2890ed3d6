#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <tapestry/autodiff.hpp>
#include <tapestry/models/training/optimizer.hpp>

#include "workload.hpp"

namespace versus {

using Variable = tapestry::Var<float>;

Variable leaf(const tapestry::Shape& shape, const std::vector<float>& values, bool requires_grad = true);
tapestry::Indices index_array(const tapestry::Shape& shape, const std::vector<std::int64_t>& values);

/// A step that clears the gradients, records the loss and goes backward, then updates where there is an optimiser.
Side side(std::vector<Variable> parameters, std::function<Variable()> loss,
          std::shared_ptr<tapestry::Optimizer<float>> optimizer = nullptr);

/// Weight [in, out] and bias [out] of a layer.
struct Layer {
  Layer(const std::string& name, std::int64_t in, std::int64_t out);
  Variable weight, bias;
};

}  // namespace versus
