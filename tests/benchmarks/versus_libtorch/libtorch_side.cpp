#include "libtorch_side.hpp"

#include <memory>

namespace versus {

using torch::Tensor;

Tensor leaf(at::IntArrayRef shape, const std::vector<float>& values, bool requires_grad) {
  return torch::tensor(values).reshape(shape).clone().requires_grad_(requires_grad);
}

std::vector<float> gradient_of(const Tensor& parameter, bool transposed) {
  const Tensor gradient = transposed ? parameter.grad().t().contiguous() : parameter.grad().contiguous();
  return {gradient.data_ptr<float>(), gradient.data_ptr<float>() + gradient.numel()};
}

Side side(std::vector<Tensor> parameters, std::function<Tensor()> loss) {
  auto last = std::make_shared<Tensor>();
  Side out;
  out.step = [parameters, loss, last]() mutable {
    for (Tensor& parameter : parameters) parameter.mutable_grad() = Tensor();
    *last = loss();
    last->backward();
  };
  out.result = [parameters, last] {
    std::vector<std::vector<float>> all{{last->item<float>()}};
    for (const Tensor& parameter : parameters) all.push_back(gradient_of(parameter, false));
    return all;
  };
  return out;
}

void set_libtorch_threads(int count) {
  at::set_num_threads(count);
}

}  // namespace versus
