#pragma once

#include <torch/torch.h>

#include <functional>
#include <vector>

#include "workload.hpp"

namespace versus {

torch::Tensor leaf(at::IntArrayRef shape, const std::vector<float>& values, bool requires_grad = true);

/// Gradients as [in, out], the layout of Tapestry's layers, of parameters that are [out, in] here.
std::vector<float> gradient_of(const torch::Tensor& parameter, bool transposed);

/// A step that clears the gradients, computes the loss and goes backward.
Side side(std::vector<torch::Tensor> parameters, std::function<torch::Tensor()> loss);

}  // namespace versus
