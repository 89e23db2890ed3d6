#include <doctest/doctest.h>

#include <limits>

#include <tapestry/models/report/quality_plot.hpp>

using namespace tapestry;

TEST_CASE("quality plot: a curve for each method's name, what an axis does not have left out") {
  const auto point = [](const char* name, double seconds, double error) {
    InferenceQuality q;
    q.method = name;
    q.seconds = seconds;
    q.max_error = error;
    q.divergence = 2 * error;
    q.mean_error = 3 * error;
    q.log_partition_error = 4 * error;
    return q;
  };
  Comparison comparison;
  comparison.methods = {point("a", 1, .5), point("b", 2, .25), point("a", 4, .125), point("a", 8, 0),
                        point("c", 1, std::numeric_limits<double>::infinity())};
  comparison.methods.push_back(point("e", 0, .5));
  comparison.methods.push_back(point("d", 1, .5));
  comparison.methods.back().failure = "too wide";
  const Plot plot = quality_plot(comparison);
  REQUIRE(plot.curves.size() == 2);
  CHECK(plot.log_x);
  CHECK(plot.log_y);
  CHECK(plot.curves[0].name == "a");
  CHECK(plot.curves[0].x == std::vector<double>{1, 4});
  CHECK(plot.curves[0].y == std::vector<double>{.5, .125});
  CHECK(plot.curves[1].y == std::vector<double>{.25});
  CHECK(quality_plot(comparison, QualityMeasure::divergence).curves[1].y == std::vector<double>{.5});
  CHECK(quality_plot(comparison, QualityMeasure::mean_error).curves[1].y == std::vector<double>{.75});
  CHECK(quality_plot(comparison, QualityMeasure::log_partition_error).curves[1].y == std::vector<double>{1});
}
