#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>

namespace tapestry::detail {

void register_losses(Registry& r) {
  const auto scores = uniform_example({4, 3}), targets = uniform_example({4, 3}, 0.1, 0.9);
  const Indices labels{0, 2, 1, 2};
  const auto mean_over_rows = [](auto loss) {
    return [loss](const std::vector<Tensor<double>>& x) {
      double total = 0;
      for (std::size_t i = 0; i < 4; ++i) total += loss(x, i);
      Tensor<double> out = empty_tensor<double>({});
      *out.data() = total / 4;
      return out;
    };
  };
  r.add("cross_entropy", {scores}, [labels](const auto& x) { return cross_entropy(x[0], labels); }).reference =
      mean_over_rows([labels](const auto& x, std::size_t i) {
        double total = 0;
        for (std::size_t k = 0; k < 3; ++k) total += std::exp(x[0](i, k));
        return std::log(total) - x[0](i, static_cast<std::size_t>(labels[static_cast<std::int64_t>(i)]));
      });
  r.add("negative_log_likelihood", {scores}, [labels](const auto& x) {
     return negative_log_likelihood(x[0], labels);
   }).reference = mean_over_rows([labels](const auto& x, std::size_t i) {
    return -x[0](i, static_cast<std::size_t>(labels[static_cast<std::int64_t>(i)]));
  });
  const auto mean_over_elements = [=](auto loss) {
    return mean_over_rows([loss](const auto& x, std::size_t i) {
      double total = 0;
      for (std::size_t k = 0; k < 3; ++k) total += loss(x[0](i, k), x[1](i, k));
      return total / 3;
    });
  };
  r.add("binary_cross_entropy_with_logits", {scores, targets}, [](const auto& x) {
     return binary_cross_entropy_with_logits(x[0], x[1]);
   }).reference = mean_over_elements([](double x, double t) {
    const double p = 1 / (1 + std::exp(-x));
    return -t * std::log(p) - (1 - t) * std::log(1 - p);
  });
  r.add("squared_error", {scores, targets}, [](const auto& x) { return squared_error(x[0], x[1]); }).reference =
      mean_over_elements([](double x, double t) { return (x - t) * (x - t); });
  r.add("huber", {scores, targets}, [](const auto& x) { return huber(x[0], x[1], 0.7); }).reference =
      mean_over_elements([](double x, double t) {
        const double size = std::abs(x - t);
        return size <= 0.7 ? size * size / 2 : 0.7 * (size - 0.35);
      });
  r.add("hinge", {scores, targets}, [](const auto& x) { return hinge(x[0], x[1]); }).reference =
      mean_over_elements([](double x, double t) { return std::max(0.0, 1 - t * x); });
  r.add("kl_divergence", {scores, targets}, [](const auto& x) {
     return kl_divergence(log_softmax(x[0]), log_softmax(x[1]));
   }).reference = mean_over_rows([](const auto& x, std::size_t i) {
    double p[3], q[3], sum_p = 0, sum_q = 0, total = 0;
    for (std::size_t k = 0; k < 3; ++k) sum_p += p[k] = std::exp(x[0](i, k)), sum_q += q[k] = std::exp(x[1](i, k));
    for (std::size_t k = 0; k < 3; ++k) total += p[k] / sum_p * std::log(p[k] / sum_p / (q[k] / sum_q));
    return total;
  });
}

}  // namespace tapestry::detail
