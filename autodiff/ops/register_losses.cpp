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
  const Tensor<double> class_weights{0.5, 2, 1};
  r.add("cross_entropy_options", {scores}, [=](const auto& x) {
     using T = typename std::remove_cvref_t<decltype(x[0])>::value_type;
     return cross_entropy(
         x[0], labels, {.ignored_label = 1, .smoothing = 0.2, .class_weights = Tensor<T>(xt::cast<T>(class_weights))});
   }).reference = [=](const std::vector<Tensor<double>>& x) {
    double loss = 0, weight = 0;
    for (std::size_t i : {0, 1, 3}) {
      double total = 0;
      for (std::size_t k = 0; k < 3; ++k) total += std::exp(x[0](i, k));
      const auto label = static_cast<std::size_t>(labels[static_cast<std::int64_t>(i)]);
      for (std::size_t k = 0; k < 3; ++k)
        loss -= class_weights(k) * (0.2 / 3 + (k == label ? 0.8 : 0)) * (x[0](i, k) - std::log(total));
      weight += class_weights(label);
    }
    Tensor<double> out = empty_tensor<double>({});
    *out.data() = loss / weight;
    return out;
  };
  r.add("cross_entropy_with_probabilities", {scores, targets}, [](const auto& x) {
     return cross_entropy_with_probabilities(x[0], x[1]);
   }).reference = mean_over_rows([](const auto& x, std::size_t i) {
    double total = 0, loss = 0;
    for (std::size_t k = 0; k < 3; ++k) total += std::exp(x[0](i, k));
    for (std::size_t k = 0; k < 3; ++k) loss -= x[1](i, k) * (x[0](i, k) - std::log(total));
    return loss;
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
  r.add("absolute_error", {scores, targets}, [](const auto& x) { return absolute_error(x[0], x[1]); }).reference =
      mean_over_elements([](double x, double t) { return std::abs(x - t); });
  r.add("margin_ranking", {scores, targets, fixed_example({1, -1, 1})}, [](const auto& x) {
     return margin_ranking(x[0], x[1], x[2], 0.3);
   }).reference = mean_over_rows([](const auto& x, std::size_t i) {
    double total = 0;
    for (std::size_t k = 0; k < 3; ++k) total += std::max(0.0, 0.3 - x[2](k) * (x[0](i, k) - x[1](i, k)));
    return total / 3;
  });
  const auto excess = [labels](const auto& x, std::size_t i, std::size_t k) {
    const auto label = static_cast<std::size_t>(labels[static_cast<std::int64_t>(i)]);
    return k == label ? 0.0 : std::max(0.0, 0.7 - x[0](i, label) + x[0](i, k));
  };
  r.add("multiclass_margin", {scores}, [labels](const auto& x) {
     return multiclass_margin(x[0], labels, 0.7);
   }).reference = mean_over_rows([=](const auto& x, std::size_t i) {
    return excess(x, i, 0) + excess(x, i, 1) + excess(x, i, 2);
  });
  r.add("multiclass_margin_squared", {scores}, [labels](const auto& x) {
     return multiclass_margin(x[0], labels, 0.7, 2);
   }).reference = mean_over_rows([=](const auto& x, std::size_t i) {
    return std::pow(excess(x, i, 0), 2) + std::pow(excess(x, i, 1), 2) + std::pow(excess(x, i, 2), 2);
  });
  r.add("multiclass_hinge", {scores}, [labels](const auto& x) {
     return multiclass_hinge(x[0], labels, 0.7);
   }).reference = mean_over_rows([=](const auto& x, std::size_t i) {
    return std::max({excess(x, i, 0), excess(x, i, 1), excess(x, i, 2)});
  });
  r.add("triplet", {scores, scores, scores}, [](const auto& x) { return triplet(x[0], x[1], x[2], 0.8); }).reference =
      mean_over_rows([](const auto& x, std::size_t i) {
        double near = 0, far = 0;
        for (std::size_t k = 0; k < 3; ++k) {
          near += std::pow(x[0](i, k) - x[1](i, k), 2);
          far += std::pow(x[0](i, k) - x[2](i, k), 2);
        }
        return std::max(0.0, std::sqrt(near) - std::sqrt(far) + 0.8);
      });
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
