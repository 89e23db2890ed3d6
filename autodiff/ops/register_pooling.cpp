#include <algorithm>
#include <limits>

#include <xtensor/xmanipulation.hpp>

#include <tapestry/autodiff/ops/pooling.hpp>
#include <tapestry/autodiff/ops/register.hpp>

namespace tapestry::detail {
namespace {

using Values = std::vector<Tensor<double>>;
using Int = std::int64_t;
using Window = std::pair<Int, Int>;

// Windows [first, last) along an axis, cut to what there is.
std::vector<Window> regular(Int n, Int count, Int size, Int stride, Int padding) {
  std::vector<Window> out;
  for (Int i = 0; i < count; ++i)
    out.emplace_back(std::max<Int>(0, i * stride - padding), std::min(n, i * stride - padding + size));
  return out;
}
std::vector<Window> even(Int n, Int count) {
  std::vector<Window> out;
  for (Int i = 0; i < count; ++i) out.emplace_back(i * n / count, ((i + 1) * n + count - 1) / count);
  return out;
}

// Over planes of columns.size() * rows: the maximum, or with a divisor (0: the number of elements) the mean.
Tensor<double> pooled(const Tensor<double>& x, const Shape& shape, Int width, Int plane,
                      const std::vector<Window>& rows, const std::vector<Window>& columns, bool maximum,
                      double divisor = 0) {
  Tensor<double> out = empty_tensor<double>(shape);
  double* y = out.data();
  for (Int p = 0; p < static_cast<Int>(x.size()) / plane; ++p)
    for (const Window& r : rows)
      for (const Window& c : columns) {
        double best = -std::numeric_limits<double>::infinity(), sum = 0;
        for (Int i = r.first; i < r.second; ++i)
          for (Int j = c.first; j < c.second; ++j) {
            best = std::max(best, x.data()[p * plane + i * width + j]);
            sum += x.data()[p * plane + i * width + j];
          }
        const double n = divisor > 0 ? divisor : static_cast<double>((r.second - r.first) * (c.second - c.first));
        *y++ = maximum ? best : sum / n;
      }
  return out;
}

}  // namespace

void register_pooling(Registry& r) {
  const std::vector<Window> one{{0, 1}};
  r.add("max_pool1d", {distinct_example({2, 3, 8})}, [](const auto& x) {
     return max_pool1d(x[0], 3, {.stride = 2, .padding = 1});
   }).reference = [=](const Values& v) {
    return pooled(v[0], {2, 3, 4}, 8, 8, one, regular(8, 4, 3, 2, 1), true);
  };
  r.add("max_pool2d", {distinct_example({2, 2, 5, 6})}, [](const auto& x) { return max_pool2d(x[0], 2); }).reference =
      [](const Values& v) {
        return pooled(v[0], {2, 2, 2, 3}, 6, 30, regular(5, 2, 2, 2, 0), regular(6, 3, 2, 2, 0), true);
      };
  r.add("max_pool2d_options", {distinct_example({2, 5, 6})}, [](const auto& x) {
     return max_pool2d(x[0], {3, 2}, {.stride = HeightWidth(1, 3), .padding = {1, 0}});
   }).reference = [](const Values& v) {
    return pooled(v[0], {2, 5, 2}, 6, 30, regular(5, 5, 3, 1, 1), regular(6, 2, 2, 3, 0), true);
  };
  r.add("avg_pool1d", {uniform_example({2, 3, 8})}, [](const auto& x) {
     return avg_pool1d(x[0], 3, {.stride = 2, .padding = 1, .count_padding = false});
   }).reference = [=](const Values& v) {
    return pooled(v[0], {2, 3, 4}, 8, 8, one, regular(8, 4, 3, 2, 1), false);
  };
  r.add("avg_pool2d", {uniform_example({2, 5, 6})}, [](const auto& x) {
     return avg_pool2d(x[0], {3, 2}, {.stride = HeightWidth(1, 3), .padding = {1, 0}});
   }).reference = [](const Values& v) {
    return pooled(v[0], {2, 5, 2}, 6, 30, regular(5, 5, 3, 1, 1), regular(6, 2, 2, 3, 0), false, 6);
  };
  r.add("adaptive_avg_pool1d", {uniform_example({2, 8})}, [](const auto& x) {
     return adaptive_avg_pool1d(x[0], 3);
   }).reference = [=](const Values& v) {
    return pooled(v[0], {2, 3}, 8, 8, one, even(8, 3), false);
  };
  r.add("adaptive_avg_pool2d", {uniform_example({2, 5, 7})}, [](const auto& x) {
     return adaptive_avg_pool2d(x[0], {3, 2});
   }).reference = [](const Values& v) {
    return pooled(v[0], {2, 3, 2}, 7, 35, even(5, 3), even(7, 2), false);
  };
  r.add("adaptive_max_pool1d", {distinct_example({2, 8})}, [](const auto& x) {
     return adaptive_max_pool1d(x[0], 3);
   }).reference = [=](const Values& v) {
    return pooled(v[0], {2, 3}, 8, 8, one, even(8, 3), true);
  };
  r.add("adaptive_max_pool2d", {distinct_example({2, 5, 7})}, [](const auto& x) {
     return adaptive_max_pool2d(x[0], {3, 2});
   }).reference = [](const Values& v) {
    return pooled(v[0], {2, 3, 2}, 7, 35, even(5, 3), even(7, 2), true);
  };
  const IndexTensor places{{1, 4, 2}, {0, 0, 3}};
  r.add("max_unpool1d", {uniform_example({2, 3})}, [=](const auto& x) {
     return max_unpool1d(x[0], places, 5);
   }).reference = [=](const Values& v) {
    Tensor<double> out(xt::svector<std::size_t, 4>{2, 5}, 0.0);
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t j = 0; j < 3; ++j) out(i, static_cast<std::size_t>(places(i, j))) += v[0](i, j);
    return out;
  };
  r.add("max_unpool2d", {uniform_example({2, 1, 3})}, [=](const auto& x) {
     return max_unpool2d(x[0], IndexTensor(xt::reshape_view(places, {2, 1, 3})), {2, 3});
   }).reference = [=](const Values& v) {
    Tensor<double> out(xt::svector<std::size_t, 4>{2, 2, 3}, 0.0);
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t j = 0; j < 3; ++j) out.data()[i * 6 + static_cast<std::size_t>(places(i, j))] += v[0](i, 0, j);
    return out;
  };
}

}  // namespace tapestry::detail
