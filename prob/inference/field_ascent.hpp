#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <tapestry/prob/inference/cluster_mean_field.hpp>
#include <tapestry/prob/inference/gradient_mode.hpp>
#include <tapestry/prob/inference/plain_result.hpp>

namespace tapestry {
struct FixedPointReport;
}

namespace tapestry::detail {

/// How mean field over clusters is run.
struct Ascent {
  std::int64_t iterations;
  double tolerance;
  std::uint64_t seed;
  CliqueTreeOptions tree;
  GradientMode gradient;
  std::int64_t truncation;
};

/// Coordinate ascent of clusters. Where all states seem impossible from uniform distributions it starts again at an
/// assignment that is possible. The result's gradient passes through the sweeps as the options say; `adjoint` is told
/// how an implicit one was solved.
PlainResult field_ascent(const DenseTables& tables, const GraphStructure& graph,
                         const std::vector<std::int64_t>& clusters, const Ascent& options, InferenceTrace* trace,
                         const std::shared_ptr<FixedPointReport>& adjoint);

/// What it is made of beside the graph. @throws IoError where what is read makes no sense
void exchange(Attributes& a, std::vector<std::int64_t>& clusters, Ascent& options);
void require_clusters(const GraphStructure& graph, const std::vector<std::int64_t>& clusters);

}  // namespace tapestry::detail
