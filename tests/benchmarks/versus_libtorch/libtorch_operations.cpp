#include "libtorch_side.hpp"

namespace versus {
namespace {

using torch::Tensor;

Side scalar_operations() {
  const Tensor x = leaf({1}, uniforms("x", 1));
  return side({x}, [=] {
    Tensor y = x;
    for (int i = 0; i < 500; ++i) {
      y = y * x;
      y = y + x;
    }
    return y;
  });
}

Side elementwise_chain() {
  const Tensor x = leaf({1000000}, uniforms("x", 1000000));
  return side({x}, [=] { return torch::tanh(torch::sigmoid(x) * x + torch::exp(x)).sum(); });
}

Side batched_product() {
  const Tensor a = leaf({64, 64, 64}, normals("a", 64 * 64 * 64));
  const Tensor b = leaf({64, 64, 64}, normals("b", 64 * 64 * 64), false);
  return side({a}, [=] { return a.bmm(b).sum(); });
}

Side cholesky_logdet() {
  constexpr std::int64_t n = 256;
  const Tensor a = leaf({n, n}, normals("a", n * n), false);
  const Tensor s = (a.mm(a.t()) + n * torch::eye(n)).requires_grad_(true);
  return side({s}, [=] { return 2 * torch::linalg_cholesky(s).diagonal().log().sum(); });
}

}  // namespace

Workloads libtorch_operations() {
  return {
      {"scalar_ops_1000", scalar_operations},          {"eltwise_1M_chain5", elementwise_chain},
      {"eltwise_1M_chain5_lambda", elementwise_chain}, {"bmm_64x64x64", batched_product},
      {"cholesky_logdet_256", cholesky_logdet},
  };
}

}  // namespace versus
