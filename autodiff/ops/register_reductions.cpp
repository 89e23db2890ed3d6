#include <xtensor/xmath.hpp>

#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/register.hpp>

namespace tapestry::detail {
namespace {

// Not xt::sum(x, {0, 2}): the braces become an array of the wrong rank.
Tensor<double> reference_sum(const Tensor<double>& x, std::vector<std::size_t> axes) {
  return xt::sum(x, axes, xt::evaluation_strategy::immediate);
}

}  // namespace

void register_reductions(Registry& r) {
  const auto cube = uniform_example({2, 3, 4});
  r.add("sum", {cube}, [](const auto& x) { return sum(x[0]); }).reference = [](const auto& x) {
    return reference_sum(x[0], {0, 1, 2});
  };
  r.add("sum_axes", {cube}, [](const auto& x) {
     return sum(x[0], {0, -1});
   }).reference = [](const auto& x) {
    return reference_sum(x[0], {0, 2});
  };
  r.add("sum_keep_dims", {cube}, [](const auto& x) { return sum(x[0], {1}, true); }).reference = [](const auto& x) {
    return reference_sum(x[0], {1}).reshape({2, 1, 4});
  };
  r.add("mean", {cube}, [](const auto& x) { return mean(x[0], {1}); }).reference = [](const auto& x) {
    return Tensor<double>(reference_sum(x[0], {1}) / 3.0);
  };
  r.add("sum_to", {cube}, [](const auto& x) {
     return sum_to(x[0], {3, 1});
   }).reference = [](const auto& x) {
    return reference_sum(x[0], {0, 2}).reshape({3, 1});
  };
}

}  // namespace tapestry::detail
