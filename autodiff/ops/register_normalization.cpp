#include <cmath>

#include <tapestry/autodiff/ops/dropout.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/normalization.hpp>
#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/random.hpp>

namespace tapestry::detail {
namespace {

using Values = std::vector<Tensor<double>>;

constexpr double epsilon = 1e-5;

}  // namespace

void register_normalization(Registry& r) {
  r.add("dropout", {uniform_example({5, 7})}, [](const auto& x) {
     Generator generator(3);
     return dropout(x[0], 0.4, generator);
   }).no_reference = "what is kept is random: dropout_test has its distribution";
  r.add("layer_norm", {uniform_example({3, 2, 5}), uniform_example({2, 5}), uniform_example({2, 5})},
        [](const auto& x) { return layer_norm(x[0], x[1], x[2]); })
      .reference = [](const Values& v) {
    Tensor<double> out = v[0];
    for (double* x = out.data(); x != out.data() + out.size(); x += 10) {
      double mean = 0, variance = 0;
      for (int i = 0; i < 10; ++i) mean += x[i] / 10;
      for (int i = 0; i < 10; ++i) variance += (x[i] - mean) * (x[i] - mean) / 10;
      for (int i = 0; i < 10; ++i)
        x[i] = (x[i] - mean) / std::sqrt(variance + epsilon) * v[1].data()[i] + v[2].data()[i];
    }
    return out;
  };
  const std::vector<ExampleInput> batch{uniform_example({4, 3, 5}), uniform_example({3}), uniform_example({3})};
  // The value, and behind it the statistics.
  r.add("batch_norm", batch, [](const auto& x) {
     const auto y = batch_norm(x[0], x[1], x[2]);
     return concatenate({reshape(y.value, {-1}), y.mean, y.variance});
   }).reference = [](const Values& v) {
    Tensor<double> out(xt::svector<std::size_t, 4>{66});
    for (std::size_t c = 0; c < 3; ++c) {
      double mean = 0, variance = 0;
      for (std::size_t n = 0; n < 4; ++n)
        for (std::size_t i = 0; i < 5; ++i) mean += v[0](n, c, i) / 20;
      for (std::size_t n = 0; n < 4; ++n)
        for (std::size_t i = 0; i < 5; ++i) variance += (v[0](n, c, i) - mean) * (v[0](n, c, i) - mean) / 20;
      for (std::size_t n = 0; n < 4; ++n)
        for (std::size_t i = 0; i < 5; ++i)
          out(n * 15 + c * 5 + i) = (v[0](n, c, i) - mean) / std::sqrt(variance + epsilon) * v[1](c) + v[2](c);
      out(60 + c) = mean;
      out(63 + c) = variance;
    }
    return out;
  };
  r.add("batch_norm_flat", {uniform_example({6, 3}), uniform_example({3}), uniform_example({3})}, [](const auto& x) {
     return batch_norm(x[0], x[1], x[2], 0.1).value;
   }).reference = [](const Values& v) {
    Tensor<double> out = v[0];
    for (std::size_t c = 0; c < 3; ++c) {
      double mean = 0, variance = 0;
      for (std::size_t n = 0; n < 6; ++n) mean += v[0](n, c) / 6;
      for (std::size_t n = 0; n < 6; ++n) variance += (v[0](n, c) - mean) * (v[0](n, c) - mean) / 6;
      for (std::size_t n = 0; n < 6; ++n)
        out(n, c) = (v[0](n, c) - mean) / std::sqrt(variance + 0.1) * v[1](c) + v[2](c);
    }
    return out;
  };
  r.add("batch_norm_with",
        {uniform_example({4, 3, 5}), uniform_example({3}), uniform_example({3}, 0.5, 2), uniform_example({3}),
         uniform_example({3})},
        [](const auto& x) { return batch_norm_with(x[0], x[1], x[2], x[3], x[4]); })
      .reference = [](const Values& v) {
    Tensor<double> out = v[0];
    for (std::size_t n = 0; n < 4; ++n)
      for (std::size_t c = 0; c < 3; ++c)
        for (std::size_t i = 0; i < 5; ++i)
          out(n, c, i) = (v[0](n, c, i) - v[1](c)) / std::sqrt(v[2](c) + epsilon) * v[3](c) + v[4](c);
    return out;
  };
}

}  // namespace tapestry::detail
