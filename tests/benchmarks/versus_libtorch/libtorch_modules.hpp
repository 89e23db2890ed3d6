#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libtorch_side.hpp"

namespace versus {

namespace nn = torch::nn;
namespace F = torch::nn::functional;

inline void assign(torch::Tensor parameter, const torch::Tensor& values) {
  const torch::NoGradGuard off;
  parameter.copy_(values);
}

/// With the numbers of Tapestry's layer of that name.
using Layer = std::shared_ptr<nn::LinearImpl>;
inline Layer layer(const std::string& name, std::int64_t in, std::int64_t out) {
  auto linear = std::make_shared<nn::LinearImpl>(in, out);
  const float scale = 1 / std::sqrt(3.f * static_cast<float>(in));
  assign(linear->weight, leaf({in, out}, normals(name + ".weight", in * out, scale), false).t());
  assign(linear->bias, leaf({out}, normals(name + ".bias", out, 0.1f), false));
  return linear;
}

/// A training step of modules: their gradients are cleared, and updated with `optimizer` where there is one.
template <class Optimizer, class Loss>
Side module_side(std::vector<torch::Tensor> parameters, std::shared_ptr<Optimizer> optimizer, Loss loss) {
  auto last = std::make_shared<torch::Tensor>();
  Side out;
  out.step = [=]() mutable {
    optimizer->zero_grad();
    *last = loss();
    last->backward();
    optimizer->step();
  };
  out.result = [=] {
    std::vector<std::vector<float>> all{{last->template item<float>()}};
    for (const torch::Tensor& parameter : parameters) all.push_back(gradient_of(parameter, parameter.dim() == 2));
    return all;
  };
  return out;
}

}  // namespace versus
