#include <tapestry/prob/inference/mean_field.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/prob/inference/bound_checks.hpp>
#include <tapestry/prob/inference/cluster_mean_field.hpp>
#include <tapestry/prob/inference/gibbs_sampler.hpp>
#include <tapestry/prob/inference/parallel_mean_field.hpp>
#include <tapestry/prob/inference/plain_result.hpp>

namespace tapestry {
namespace {

using detail::ClusterMeanField;
using detail::DenseTables;
using detail::GraphStructure;
using detail::PlainResult;

constexpr std::int64_t search_steps = 1000000;

struct Ascent {
  std::int64_t iterations;
  double tolerance;
  std::uint64_t seed;
  CliqueTreeOptions tree;
};

/// @return whether it converged
bool ascend(ClusterMeanField& field, const Ascent& options, InferenceTrace* trace) {
  for (std::int64_t i = 0; i < options.iterations; ++i) {
    const double change = field.sweep();
    if (trace != nullptr) {
      trace->residual.push_back(change);
      trace->bound.push_back(field.bound());
      ++trace->iterations;
      trace->updates += field.clusters();
    }
    if (change <= options.tolerance) return true;
  }
  return false;
}

PlainResult run(const DenseTables& tables, const GraphStructure& graph, const std::vector<std::int64_t>& clusters,
                const Ascent& options, InferenceTrace* trace) {
  const auto cardinalities = tables.cardinalities();
  auto field = std::make_shared<ClusterMeanField>(cardinalities, tables.scopes(), tables.tables(), graph.evidence,
                                                  clusters, options.tree);
  PlainResult result;
  result.converged = ascend(*field, options, trace);
  if (field->bound() == -std::numeric_limits<double>::infinity()) {
    // From uniform distributions all states seem impossible: start at one that is possible.
    detail::GibbsSampler sampler(cardinalities, tables.scopes(), tables.tables(), graph.evidence, options.seed);
    if (sampler.find_possible(search_steps)) {
      sampler.climb();
      field->start(&sampler.state());
      result.converged = ascend(*field, options, trace);
    }
  }
  result.log_partition = field->bound();
  result.variables = field->variables();
  result.factor = [field](std::size_t f, double* out) { field->factor(f, out); };
  auto from = result.variables.begin();
  for (const std::int64_t k : cardinalities) {
    result.assignment.push_back(std::max_element(from, from + k) - from);
    from += k;
  }
  for (const auto& [variable, state] : graph.evidence) result.assignment[static_cast<std::size_t>(variable)] = state;
  return result;
}

template <class T, class Clusters>
InferenceResult<T> infer_clusters(const FactorGraph<T>& graph, std::string_view name, const Ascent& options,
                                  Clusters clusters) {
  const auto numbers = clusters(DenseTables(*graph.structure()).scopes());
  auto result =
      detail::infer_plainly<T>(graph, name, BoundKind::lower_bound, true,
                               [&](const DenseTables& tables, const GraphStructure& structure, InferenceTrace* trace,
                                   std::uint64_t) { return run(tables, structure, numbers, options, trace); });
  detail::check_bound(graph, result, name);
  return result;
}

}  // namespace

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const MeanField& options) {
  if (options.update == MeanFieldUpdate::parallel) return detail::parallel_mean_field(graph, options);
  return infer_clusters(graph, "mean_field", {options.iterations, options.tolerance, options.seed, {}},
                        [&](const auto&) { return detail::single_clusters(graph.variables()); });
}

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const StructuredMeanField& options) {
  return infer_clusters(graph, "structured_mean_field", {options.iterations, options.tolerance, options.seed, {}},
                        [&](const auto& scopes) { return detail::tree_clusters(graph.variables(), scopes); });
}

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const GeneralizedMeanField& options) {
  Ascent ascent{options.iterations, options.tolerance, options.seed, {}};
  ascent.tree.memory_limit = options.memory_limit;
  return infer_clusters(graph, "generalized_mean_field", ascent, [&](const auto& scopes) {
    return options.clusters.empty() ? detail::partition_clusters(DenseTables(*graph.structure()).cardinalities(),
                                                                 scopes, options.cluster_size, options.memory_limit)
                                    : options.clusters;
  });
}

#define TAPESTRY_INSTANTIATE(Method)                                               \
  template InferenceResult<float> infer(const FactorGraph<float>&, const Method&); \
  template InferenceResult<double> infer(const FactorGraph<double>&, const Method&);
TAPESTRY_INSTANTIATE(MeanField)
TAPESTRY_INSTANTIATE(StructuredMeanField)
TAPESTRY_INSTANTIATE(GeneralizedMeanField)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
