#include <tapestry/models/report/quality_plot.hpp>

#include <algorithm>
#include <cmath>

namespace tapestry {

Plot quality_plot(const Comparison& comparison, QualityMeasure measure) {
  static constexpr const char* labels[] = {"largest error of a marginal", "mean error of marginals",
                                           "mean KL divergence of marginals", "error of the log-partition"};
  Plot plot{.x_label = "seconds",
            .y_label = labels[static_cast<std::size_t>(measure)],
            .curves = {},
            .log_x = true,
            .log_y = true};
  for (const auto& method : comparison.methods) {
    const double errors[] = {method.max_error, method.mean_error, method.divergence, method.log_partition_error};
    const double error = errors[static_cast<std::size_t>(measure)];
    if (!method.failure.empty() || !(error > 0) || !std::isfinite(error) || !(method.seconds > 0)) continue;
    auto curve = std::find_if(plot.curves.begin(), plot.curves.end(),
                              [&](const Curve& one) { return one.name == method.method; });
    if (curve == plot.curves.end()) curve = plot.curves.insert(plot.curves.end(), {method.method, {}, {}});
    curve->x.push_back(method.seconds);
    curve->y.push_back(error);
  }
  return plot;
}

}  // namespace tapestry
