#include <tapestry/autodiff/ops/einsum.hpp>
#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/sparse.hpp>

namespace tapestry::detail {
namespace {

using Values = std::vector<Tensor<double>>;

// 3 x 4, with an empty row and a column that occurs twice.
constexpr std::int64_t row_of[] = {0, 0, 0, 2, 2}, column_of[] = {1, 3, 1, 0, 3};

template <class T>
CsrMatrix<T> example(const Var<T>& values) {
  return {3, 4, Indices{0, 3, 3, 5}, Indices{1, 3, 1, 0, 3}, values};
}

Tensor<double> product(const Values& x, bool transpose) {
  Tensor<double> out = empty_tensor<double>({transpose ? 4 : 3, 2});
  std::fill(out.data(), out.data() + out.size(), 0.0);
  for (int e = 0; e < 5; ++e)
    for (int k = 0; k < 2; ++k) {
      const std::int64_t to = transpose ? column_of[e] : row_of[e], from = transpose ? row_of[e] : column_of[e];
      out.data()[to * 2 + k] += x[0].data()[e] * x[1].data()[from * 2 + k];
    }
  return out;
}

}  // namespace

void register_sparse(Registry& r) {
  r.add("sparse_matmul", {uniform_example({5}), uniform_example({4, 2})}, [](const auto& x) {
     return matmul(example(x[0]), x[1]);
   }).reference = [](const Values& x) { return product(x, false); };
  r.add("sparse_matmul_transposed", {uniform_example({5}), uniform_example({3, 2})}, [](const auto& x) {
     return matmul(example(x[0]), x[1], true);
   }).reference = [](const Values& x) { return product(x, true); };
  r.add("sparse_matmul_vector", {uniform_example({5}), uniform_example({4})}, [](const auto& x) {
     return matmul(example(x[0]), x[1]);
   }).reference = [](const Values& x) {
    Tensor<double> out{0, 0, 0};
    for (int e = 0; e < 5; ++e) out.data()[row_of[e]] += x[0].data()[e] * x[1].data()[column_of[e]];
    return out;
  };
  r.add("einsum", {uniform_example({2, 3, 4}), uniform_example({4, 2, 5}), uniform_example({3, 3})}, [](const auto& x) {
     return einsum("bij,jbk,ii->kib", x[0], x[1], x[2]);
   }).reference = [](const Values& x) {
    Tensor<double> out = empty_tensor<double>({5, 3, 2});
    for (std::size_t k = 0; k < 5; ++k)
      for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t b = 0; b < 2; ++b) {
          double sum = 0;
          for (std::size_t j = 0; j < 4; ++j) sum += x[0](b, i, j) * x[1](j, b, k);
          out(k, i, b) = sum * x[2](i, i);
        }
    return out;
  };
}

}  // namespace tapestry::detail
