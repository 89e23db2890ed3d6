#include <xtensor/xmanipulation.hpp>

#include <tapestry/autodiff/ops/joining.hpp>
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
  r.add("squeeze", {uniform_example({3, 1, 2, 1})}, [](const auto& x) { return squeeze(x[0], {1}); }).reference =
      [](const auto& x) {
        return tabulate({3, 2, 1}, [&](const auto& i) { return x[0](i[0], 0, i[1], 0); });
      };
  r.add("expand_dims", {uniform_example({3, 2})}, [](const auto& x) {
     return expand_dims(x[0], {0, -1});
   }).reference = [](const auto& x) {
    return tabulate({1, 3, 2, 1}, [&](const auto& i) { return x[0](i[1], i[2]); });
  };
  r.add("tile", {uniform_example({2, 3})}, [](const auto& x) {
     return tile(x[0], {2, 1, 3});
   }).reference = [](const auto& x) {
    return tabulate({2, 2, 9}, [&](const auto& i) { return x[0](i[1], i[2] % 3); });
  };
  r.add("repeat", {uniform_example({2, 3})}, [](const auto& x) { return repeat(x[0], 2, 1); }).reference =
      [](const auto& x) {
        return tabulate({2, 6}, [&](const auto& i) { return x[0](i[0], i[1] / 2); });
      };
  r.add("concatenate", {uniform_example({2, 3, 2}), uniform_example({2, 1, 2}), uniform_example({2, 0, 2})},
        [](const auto& x) { return concatenate(x, 1); })
      .reference = [](const auto& x) {
    return tabulate({2, 4, 2}, [&](const auto& i) { return i[1] < 3 ? x[0](i[0], i[1], i[2]) : x[1](i[0], 0, i[2]); });
  };
  r.add("stack", {uniform_example({2, 3}), uniform_example({2, 3})}, [](const auto& x) {
     return stack(x, 1);
   }).reference = [](const auto& x) {
    return tabulate({2, 2, 3}, [&](const auto& i) { return x[i[1]](i[0], i[2]); });
  };
  r.add("roll", {uniform_example({2, 5})}, [](const auto& x) { return roll(x[0], -2, 1); }).reference =
      [](const auto& x) {
        return tabulate({2, 5}, [&](const auto& i) { return x[0](i[0], (i[1] + 2) % 5); });
      };
}

}  // namespace tapestry::detail
