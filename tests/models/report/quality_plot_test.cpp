#include <doctest/doctest.h>

#include <limits>

#include <tapestry/models/report/quality_plot.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/mean_field.hpp>

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
  comparison.reference = "Gibbs sampling";
  CHECK(quality_plot(comparison).x_label == "seconds of inference; errors against Gibbs sampling (not exact)");
  comparison.exact = true;
  const Plot plot = quality_plot(comparison);
  CHECK(plot.x_label == "seconds of inference; errors against Gibbs sampling (exact)");
  CHECK(plot.y_label == "largest error of a marginal");
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

TEST_CASE("quality plot: what a monitor saw, by step") {
  FactorGraph<double> graph;
  const auto v = graph.add_variables("v", {3}, 2);
  graph.add_unary("unary", v, Var<double>(Tensor<double>{.3, 0}));
  graph.add_potts("ties", complete_edges(graph.ids(v)), Var<double>(.5));
  InferenceMonitor monitor(MeanField{}, JunctionTree{}, {.every = 2});
  CHECK(quality_plot(monitor).curves.empty());
  for (int step = 0; step < 5; ++step) monitor.step(graph);
  const Plot plot = quality_plot(monitor, QualityMeasure::log_partition_error);
  REQUIRE(plot.curves.size() == 1);
  CHECK(plot.curves[0].name == "mean field");
  CHECK(plot.curves[0].x == std::vector<double>{0, 2, 4});
  CHECK(plot.curves[0].y[1] == monitor.history()[1].quality.log_partition_error);
  CHECK(plot.x_label == "step; errors against junction tree (exact)");
  CHECK_FALSE(plot.log_x);
  CHECK(plot.log_y);
  InferenceMonitor rough(MeanField{}, BeliefPropagation{});
  rough.step(graph);
  CHECK(quality_plot(rough).x_label == "step; errors against belief propagation (not exact)");
  CHECK(quality_plot(rough).y_label == "largest error of a marginal");
}
