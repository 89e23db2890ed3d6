#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/register.hpp>

namespace tapestry::detail {

void register_arithmetic(Registry& r) {
  const auto row = uniform_example({3}), table = uniform_example({2, 3}), column = uniform_example({2, 1});
  r.add("add", {table, row}, [](const auto& x) { return x[0] + x[1]; }).reference = [](const auto& x) {
    return Tensor<double>(x[0] + x[1]);
  };
  r.add("subtract", {row, table}, [](const auto& x) { return x[0] - x[1]; }).reference = [](const auto& x) {
    return Tensor<double>(x[0] - x[1]);
  };
  r.add("multiply", {column, row}, [](const auto& x) { return x[0] * x[1]; }).reference = [](const auto& x) {
    return Tensor<double>(x[0] * x[1]);
  };
  r.add("divide", {table, uniform_example({2, 1}, 0.5, 2)}, [](const auto& x) { return x[0] / x[1]; }).reference =
      [](const auto& x) { return Tensor<double>(x[0] / x[1]); };
  r.add("maximum", {distinct_example({4, 3}), fixed_example({0.1, 0.2, -0.3})}, [](const auto& x) {
     return maximum(x[0], x[1]);
   }).reference = [](const auto& x) { return Tensor<double>(xt::maximum(x[0], x[1])); };
  r.add("minimum", {distinct_example({4, 3}), fixed_example({0.1, 0.2, -0.3})}, [](const auto& x) {
     return minimum(x[0], x[1]);
   }).reference = [](const auto& x) { return Tensor<double>(xt::minimum(x[0], x[1])); };
}

}  // namespace tapestry::detail
