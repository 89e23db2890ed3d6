#pragma once

#include <tapestry/models/report/plot.hpp>
#include <tapestry/prob/inference/quality.hpp>

namespace tapestry {

enum class QualityMeasure { max_error, mean_error, divergence, log_partition_error };

/// Error against time on logarithmic axes, a curve for each method's name; methods that failed and errors of zero or
/// infinity, which such axes do not have, are left out. The axis below names the reference.
Plot quality_plot(const Comparison& comparison, QualityMeasure measure = QualityMeasure::max_error);

/// Error by step of training, likewise; no curve where there is no error to draw.
Plot quality_plot(const InferenceMonitor& monitor, QualityMeasure measure = QualityMeasure::max_error);

}  // namespace tapestry
