#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/register.hpp>

namespace tapestry::detail {
namespace {

// The sum of a [2, 3, 4] tensor over the axes that `shape` has extent 1 in.
Tensor<double> reference_sum(const Tensor<double>& x, const Shape& shape) {
  Tensor<double> out(xt::svector<std::size_t, 4>(shape.begin(), shape.end()), 0.0);
  for (std::size_t i = 0; i < x.shape(0); ++i)
    for (std::size_t j = 0; j < x.shape(1); ++j)
      for (std::size_t k = 0; k < x.shape(2); ++k)
        out(shape[0] == 1 ? 0 : i, shape[1] == 1 ? 0 : j, shape[2] == 1 ? 0 : k) += x(i, j, k);
  return out;
}

Tensor<double> reshaped(Tensor<double> x, std::vector<std::size_t> shape) {
  x.reshape(shape);
  return x;
}

}  // namespace

void register_reductions(Registry& r) {
  const auto cube = uniform_example({2, 3, 4});
  r.add("sum", {cube}, [](const auto& x) { return sum(x[0]); }).reference = [](const auto& x) {
    return reshaped(reference_sum(x[0], {1, 1, 1}), {});
  };
  r.add("sum_axes", {cube}, [](const auto& x) {
     return sum(x[0], {0, -1});
   }).reference = [](const auto& x) {
    return reshaped(reference_sum(x[0], {1, 3, 1}), {3});
  };
  r.add("sum_keep_dims", {cube}, [](const auto& x) { return sum(x[0], {1}, true); }).reference = [](const auto& x) {
    return reference_sum(x[0], {2, 1, 4});
  };
  r.add("mean", {cube}, [](const auto& x) { return mean(x[0], {1}); }).reference = [](const auto& x) {
    return Tensor<double>(reshaped(reference_sum(x[0], {2, 1, 4}), {2, 4}) / 3.0);
  };
  r.add("sum_to", {cube}, [](const auto& x) {
     return sum_to(x[0], {3, 1});
   }).reference = [](const auto& x) {
    return reshaped(reference_sum(x[0], {1, 3, 1}), {3, 1});
  };
}

}  // namespace tapestry::detail
