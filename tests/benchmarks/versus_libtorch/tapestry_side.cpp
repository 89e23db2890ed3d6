#include "tapestry_side.hpp"

#include <algorithm>
#include <cmath>

namespace versus {

using tapestry::IndexTensor;
using tapestry::Shape;
using tapestry::Tensor;

Variable leaf(const Shape& shape, const std::vector<float>& values, bool requires_grad) {
  Tensor<float> tensor = tapestry::empty_tensor<float>(shape);
  std::copy(values.begin(), values.end(), tensor.data());
  return Variable(std::move(tensor), requires_grad);
}

tapestry::Indices index_array(const Shape& shape, const std::vector<std::int64_t>& values) {
  IndexTensor tensor = tapestry::empty_tensor<std::int64_t>(shape);
  std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}

Side side(std::vector<Variable> parameters, std::function<Variable()> loss,
          std::shared_ptr<tapestry::Optimizer<float>> optimizer) {
  auto last = std::make_shared<float>(0.f);
  Side out;
  out.step = [parameters, loss, last, optimizer]() mutable {
    for (Variable& parameter : parameters) parameter.zero_gradient();
    const Variable value = loss();
    value.backward();
    if (optimizer) optimizer->step();
    *last = value.item();
  };
  out.result = [parameters, last] {
    std::vector<std::vector<float>> all{{*last}};
    for (const Variable& parameter : parameters) {
      const auto gradient = parameter.gradient();
      all.emplace_back(gradient.data(), gradient.data() + parameter.size());
    }
    return all;
  };
  return out;
}

Layer::Layer(const std::string& name, std::int64_t in, std::int64_t out)
    : weight(leaf({in, out}, normals(name + ".weight", in * out, 1 / std::sqrt(3.f * static_cast<float>(in))))),
      bias(leaf({out}, normals(name + ".bias", out, 0.1f))) {}

void set_tapestry_threads(int count) {
  tapestry::set_threads(count);
}

}  // namespace versus
