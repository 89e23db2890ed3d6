#include <cmath>

#include <tapestry/autodiff/ops/linear.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/register.hpp>

namespace tapestry::detail {
namespace {

using Values = std::vector<Tensor<double>>;

// c[s, i, j] = sum_k a[s, i, k] b[s, k, j] by strides, for a batch of `batch` items.
struct Strides {
  std::size_t item, row, column;
};
Tensor<double> product(const Shape& shape, std::size_t batch, std::size_t m, std::size_t n, std::size_t k,
                       const Tensor<double>& a, Strides sa, const Tensor<double>& b, Strides sb) {
  Tensor<double> out = empty_tensor<double>(shape);
  for (std::size_t s = 0; s < batch; ++s)
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        double sum = 0;
        for (std::size_t l = 0; l < k; ++l)
          sum +=
              a.data()[s * sa.item + i * sa.row + l * sa.column] * b.data()[s * sb.item + l * sb.row + j * sb.column];
        out.data()[(s * m + i) * n + j] = sum;
      }
  return out;
}

template <class F>
Tensor<double> affine(const Values& x, F activation) {
  const std::size_t out = x[2].size();
  Tensor<double> y = product({2, 3, 5}, 1, 6, out, 4, x[0], {0, 4, 1}, x[1], {0, 5, 1});
  for (std::size_t i = 0; i < y.size(); ++i) y.data()[i] = activation(y.data()[i] + x[2].data()[i % out]);
  return y;
}

}  // namespace

void register_matmul(Registry& r) {
  r.add("matmul", {uniform_example({3, 4}), uniform_example({4, 5})}, [](const auto& x) {
     return matmul(x[0], x[1]);
   }).reference = [](const Values& x) {
    return product({3, 5}, 1, 3, 5, 4, x[0], {0, 4, 1}, x[1], {0, 5, 1});
  };
  r.add("matmul_transposed", {uniform_example({2, 4, 3}), uniform_example({2, 5, 4})}, [](const auto& x) {
     return matmul(x[0], x[1], {.transpose_a = true, .transpose_b = true});
   }).reference = [](const Values& x) {
    return product({2, 3, 5}, 2, 3, 5, 4, x[0], {12, 1, 3}, x[1], {20, 1, 4});
  };
  r.add("matmul_shared", {uniform_example({2, 3, 4}), uniform_example({4, 5})}, [](const auto& x) {
     return matmul(x[0], x[1]);
   }).reference = [](const Values& x) {
    return product({2, 3, 5}, 1, 6, 5, 4, x[0], {0, 4, 1}, x[1], {0, 5, 1});
  };
  r.add("matmul_broadcast", {uniform_example({2, 1, 3, 4}), uniform_example({3, 4, 2})}, [](const auto& x) {
     return matmul(x[0], x[1]);
   }).reference = [](const Values& x) {
    Tensor<double> out = empty_tensor<double>({2, 3, 3, 2});
    for (std::size_t s = 0; s < 6; ++s)
      for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t j = 0; j < 2; ++j) {
          double sum = 0;
          for (std::size_t l = 0; l < 4; ++l)
            sum += x[0].data()[(s / 3 * 3 + i) * 4 + l] * x[1].data()[(s % 3 * 4 + l) * 2 + j];
          out.data()[(s * 3 + i) * 2 + j] = sum;
        }
    return out;
  };
  r.add("matmul_row", {uniform_example({4}), uniform_example({2, 4, 3})}, [](const auto& x) {
     return matmul(x[0], x[1]);
   }).reference = [](const Values& x) {
    return product({2, 3}, 2, 1, 3, 4, x[0], {0, 4, 1}, x[1], {12, 3, 1});
  };
  r.add("matmul_column", {uniform_example({2, 3, 4}), uniform_example({4})}, [](const auto& x) {
     return matmul(x[0], x[1]);
   }).reference = [](const Values& x) {
    return product({2, 3}, 1, 6, 1, 4, x[0], {0, 4, 1}, x[1], {0, 1, 1});
  };
  r.add("dot", {uniform_example({5}), uniform_example({5})}, [](const auto& x) { return dot(x[0], x[1]); }).reference =
      [](const Values& x) {
        return product({}, 1, 1, 1, 5, x[0], {0, 5, 1}, x[1], {0, 1, 1});
      };
  r.add("outer", {uniform_example({3}), uniform_example({4})}, [](const auto& x) {
     return outer(x[0], x[1]);
   }).reference = [](const Values& x) {
    return product({3, 4}, 1, 3, 4, 1, x[0], {0, 1, 1}, x[1], {0, 4, 1});
  };

  const std::vector<ExampleInput> affine_inputs{uniform_example({2, 3, 4}), uniform_example({4, 5}),
                                                uniform_example({5})};
  r.add("linear", affine_inputs, [](const auto& x) { return linear(x[0], x[1], x[2]); }).reference =
      [](const Values& x) { return affine(x, [](double z) { return z; }); };
  r.add("linear_relu", affine_inputs, [](const auto& x) {
     return linear(x[0], x[1], x[2], Activation::relu);
   }).reference = [](const Values& x) { return affine(x, [](double z) { return z > 0 ? z : 0; }); };
  r.add("linear_sigmoid", affine_inputs, [](const auto& x) {
     return linear(x[0], x[1], x[2], Activation::sigmoid);
   }).reference = [](const Values& x) { return affine(x, [](double z) { return 1 / (1 + std::exp(-z)); }); };
  r.add("linear_tanh", affine_inputs, [](const auto& x) {
     return linear(x[0], x[1], x[2], Activation::tanh);
   }).reference = [](const Values& x) { return affine(x, [](double z) { return std::tanh(z); }); };
  r.add("linear_softplus", affine_inputs, [](const auto& x) {
     return linear(x[0], x[1], x[2], Activation::softplus);
   }).reference = [](const Values& x) { return affine(x, [](double z) { return std::log1p(std::exp(z)); }); };
}

}  // namespace tapestry::detail
