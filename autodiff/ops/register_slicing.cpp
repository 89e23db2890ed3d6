#include <algorithm>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>

namespace tapestry::detail {

void register_slicing(Registry& r) {
  const auto cube = uniform_example({3, 4, 5}), matrix = uniform_example({3, 4});
  r.add("slice", {cube}, [](const auto& x) {
     return slice(x[0], {{1}, {-1, 0, -2}, {0, -1, 3}});
   }).reference = [](const auto& x) {
    return tabulate({2, 2, 2}, [&](const auto& i) { return x[0](1 + i[0], 3 - 2 * i[1], 3 * i[2]); });
  };
  r.add("select", {cube}, [](const auto& x) { return select(x[0], 1, -2); }).reference = [](const auto& x) {
    return tabulate({3, 5}, [&](const auto& i) { return x[0](i[0], 2, i[1]); });
  };
  r.add("split", {cube}, [](const auto& x) {
     const auto parts = split(x[0], {1, 3}, 1);
     return parts[0] * parts[1];
   }).reference = [](const auto& x) {
    return tabulate({3, 3, 5}, [&](const auto& i) { return x[0](i[0], 0, i[2]) * x[0](i[0], i[1] + 1, i[2]); });
  };
  r.add("chunk", {cube}, [](const auto& x) {
     const auto parts = chunk(x[0], 2, 1);
     return parts[0] * parts[1];
   }).reference = [](const auto& x) {
    return tabulate({3, 2, 5}, [&](const auto& i) { return x[0](i[0], i[1], i[2]) * x[0](i[0], i[1] + 2, i[2]); });
  };
  r.add("unbind", {cube}, [](const auto& x) {
     auto parts = unbind(x[0], 0);
     std::reverse(parts.begin(), parts.end());
     return stack(parts, 2);
   }).reference = [](const auto& x) {
    return tabulate({4, 5, 3}, [&](const auto& i) { return x[0](2 - i[2], i[0], i[1]); });
  };
  r.add("pad", {matrix}, [](const auto& x) {
     return pad(x[0], {{1, 0}, {2, 1}}, 0.5);
   }).reference = [](const auto& x) {
    return tabulate({4, 7},
                    [&](const auto& i) { return i[0] >= 1 && i[1] >= 2 && i[1] < 6 ? x[0](i[0] - 1, i[1] - 2) : 0.5; });
  };
  r.add("flip", {cube}, [](const auto& x) {
     return flip(x[0], {0, -1});
   }).reference = [](const auto& x) {
    return tabulate({3, 4, 5}, [&](const auto& i) { return x[0](2 - i[0], i[1], 4 - i[2]); });
  };
  r.add("transpose", {matrix}, [](const auto& x) { return transpose(x[0]); }).reference = [](const auto& x) {
    return tabulate({4, 3}, [&](const auto& i) { return x[0](i[1], i[0]); });
  };
  r.add("permute", {cube}, [](const auto& x) {
     return permute(x[0], {1, -1, 0});
   }).reference = [](const auto& x) {
    return tabulate({4, 5, 3}, [&](const auto& i) { return x[0](i[2], i[0], i[1]); });
  };
  r.add("swap_axes", {cube}, [](const auto& x) { return swap_axes(x[0], 0, -1); }).reference = [](const auto& x) {
    return tabulate({5, 4, 3}, [&](const auto& i) { return x[0](i[2], i[1], i[0]); });
  };
  r.add("diagonal", {cube}, [](const auto& x) { return diagonal(x[0], -1, 2, 0); }).reference = [](const auto& x) {
    return tabulate({4, 3}, [&](const auto& i) { return i[1] < 3 ? x[0](i[1], i[0], i[1] + 1) : 0; });
  };
  r.add("diag_embed", {uniform_example({2, 3})}, [](const auto& x) { return diag_embed(x[0], 1); }).reference =
      [](const auto& x) {
        return tabulate({2, 4, 4}, [&](const auto& i) { return i[2] == i[1] + 1 ? x[0](i[0], i[1]) : 0; });
      };
  r.add("trace", {uniform_example({2, 3, 3})}, [](const auto& x) { return trace(x[0]); }).reference =
      [](const auto& x) {
        return tabulate({2}, [&](const auto& i) { return x[0](i[0], 0, 0) + x[0](i[0], 1, 1) + x[0](i[0], 2, 2); });
      };
}

}  // namespace tapestry::detail
