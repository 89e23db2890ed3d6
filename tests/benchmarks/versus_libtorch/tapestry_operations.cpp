#include <tapestry/autodiff/elementwise.hpp>

#include "tapestry_side.hpp"

namespace versus {
namespace {

Side scalar_operations() {
  const Variable x = leaf({1}, uniforms("x", 1));
  return side({x}, [=] {
    Variable y = x;
    for (int i = 0; i < 500; ++i) {
      y = y * x;
      y = y + x;
    }
    return y;
  });
}

Side elementwise_chain() {
  const Variable x = leaf({1000000}, uniforms("x", 1000000));
  return side({x}, [=] { return sum(tanh(sigmoid(x) * x + exp(x))); });
}

Side elementwise_lambda() {
  const Variable x = leaf({1000000}, uniforms("x", 1000000));
  return side({x}, [=] { return sum(tapestry::elementwise([](auto a) { return tanh(sigmoid(a) * a + exp(a)); }, x)); });
}

Side batched_product() {
  const Variable a = leaf({64, 64, 64}, normals("a", 64 * 64 * 64));
  const Variable b = leaf({64, 64, 64}, normals("b", 64 * 64 * 64), false);
  return side({a}, [=] { return sum(matmul(a, b)); });
}

Side cholesky_logdet() {
  constexpr std::int64_t n = 256;
  const Variable a = leaf({n, n}, normals("a", n * n), false);
  Variable s = matmul(a, a, {.transpose_b = true});
  for (std::int64_t i = 0; i < n; ++i) s.mutable_data()[i * (n + 1)] += static_cast<float>(n);
  s.set_requires_grad(true);
  return side({s}, [=] { return 2.f * sum(log(diagonal(cholesky(s)))); });
}

}  // namespace

Workloads tapestry_operations() {
  return {
      {"scalar_ops_1000", scalar_operations},           {"eltwise_1M_chain5", elementwise_chain},
      {"eltwise_1M_chain5_lambda", elementwise_lambda}, {"bmm_64x64x64", batched_product},
      {"cholesky_logdet_256", cholesky_logdet},
  };
}

}  // namespace versus
