#include <tapestry/models/report/quality_plot.hpp>

#include <algorithm>
#include <cmath>

namespace tapestry {
namespace {

double error_of(const InferenceQuality& quality, QualityMeasure measure) {
  const double errors[] = {quality.max_error, quality.mean_error, quality.divergence, quality.log_partition_error};
  return errors[static_cast<std::size_t>(measure)];
}

/// Axes without curves.
Plot axes_of(QualityMeasure measure, const std::string& x, const std::string& reference, bool exact) {
  static constexpr const char* labels[] = {"largest error of a marginal", "mean error of marginals",
                                           "mean KL divergence of marginals, nats", "error of the log-partition, nats"};
  Plot plot;
  plot.x_label = x + "; errors against " + reference + (exact ? " (exact)" : " (not exact)");
  plot.y_label = labels[static_cast<std::size_t>(measure)];
  plot.log_y = true;
  return plot;
}

}  // namespace

Plot quality_plot(const Comparison& comparison, QualityMeasure measure) {
  Plot plot = axes_of(measure, "seconds of inference", comparison.reference, comparison.exact);
  plot.log_x = true;
  for (const auto& method : comparison.methods) {
    const double error = error_of(method, measure);
    if (!method.failure.empty() || !(error > 0) || !std::isfinite(error) || !(method.seconds > 0)) continue;
    auto curve = std::find_if(plot.curves.begin(), plot.curves.end(),
                              [&](const Curve& one) { return one.name == method.method; });
    if (curve == plot.curves.end()) curve = plot.curves.insert(plot.curves.end(), {method.method, {}, {}});
    curve->x.push_back(method.seconds);
    curve->y.push_back(error);
  }
  return plot;
}

Plot quality_plot(const InferenceMonitor& monitor, QualityMeasure measure) {
  const auto& history = monitor.history();
  const bool exact = std::all_of(history.begin(), history.end(), [](const auto& report) { return report.exact; });
  Plot plot = axes_of(measure, "step", monitor.better().name(), exact);
  Curve curve;
  for (const auto& report : history) {
    const double error = error_of(report.quality, measure);
    if (!(error > 0) || !std::isfinite(error)) continue;
    curve.name = report.quality.method;
    curve.x.push_back(static_cast<double>(report.step));
    curve.y.push_back(error);
  }
  if (!curve.x.empty()) plot.curves.push_back(std::move(curve));
  return plot;
}

}  // namespace tapestry
