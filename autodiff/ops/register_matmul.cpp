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

// activation(x W + b), or without a third value activation(x W).
template <class F>
Tensor<double> affine(const Values& x, F activation) {
  Tensor<double> y = product({2, 3, 5}, 1, 6, 5, 4, x[0], {0, 4, 1}, x[1], {0, 5, 1});
  for (std::size_t i = 0; i < y.size(); ++i)
    y.data()[i] = activation(y.data()[i] + (x.size() > 2 ? x[2].data()[i % 5] : 0));
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
  const std::vector<ExampleInput> product_inputs(affine_inputs.begin(), affine_inputs.begin() + 2);
  const auto add_linear = [&](const std::string& name, Activation activation, auto f) {
    const auto reference = [f](const Values& x) { return affine(x, f); };
    r.add(name, affine_inputs, [=](const auto& x) { return linear(x[0], x[1], x[2], activation); }).reference =
        reference;
    r.add(name + "_without_bias", product_inputs, [=](const auto& x) {
       return linear(x[0], x[1], activation);
     }).reference = reference;
  };
  add_linear("linear", Activation::none, [](double z) { return z; });
  add_linear("linear_relu", Activation::relu, [](double z) { return z > 0 ? z : 0; });
  add_linear("linear_sigmoid", Activation::sigmoid, [](double z) { return 1 / (1 + std::exp(-z)); });
  add_linear("linear_tanh", Activation::tanh, [](double z) { return std::tanh(z); });
  add_linear("linear_softplus", Activation::softplus, [](double z) { return std::log1p(std::exp(z)); });
}

}  // namespace tapestry::detail
