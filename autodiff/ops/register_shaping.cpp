#include <xtensor/xmanipulation.hpp>

#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>

namespace tapestry::detail {

void register_shaping(Registry& r) {
  r.add("reshape", {uniform_example({2, 3, 4})}, [](const auto& x) {
     return reshape(x[0], {4, -1});
   }).reference = [](const auto& x) {
    return Tensor<double>(xt::reshape_view(x[0], {4, 6}));
  };
  r.add("broadcast_to", {uniform_example({3, 1})}, [](const auto& x) {
     return broadcast_to(x[0], {2, 3, 4});
   }).reference = [](const auto& x) {
    return Tensor<double>(xt::broadcast(x[0], {2, 3, 4}));
  };
}

}  // namespace tapestry::detail
