#include <tapestry/prob/inference/mean_field.hpp>

#include <tapestry/autodiff/observer.hpp>
#include <tapestry/graph/fixed_point.hpp>
#include <tapestry/prob/inference/bound_checks.hpp>
#include <tapestry/prob/inference/field_ascent.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/inference/parallel_mean_field.hpp>

namespace tapestry {
namespace {

using detail::Ascent;
using detail::DenseTables;
using detail::GraphStructure;

template <class Options>
Ascent ascent_of(const Options& options) {
  return {options.iterations, options.tolerance, options.seed, {}, options.gradient, options.truncation};
}

template <class T, class Clusters>
InferenceResult<T> infer_clusters(const FactorGraph<T>& graph, std::string_view name, const Ascent& options,
                                  Clusters clusters) {
  const auto adjoint = std::make_shared<FixedPointReport>(detail::solved_adjoint());
  std::vector<std::int64_t> numbers = clusters(DenseTables(*graph.structure()).scopes());
  auto result = detail::infer_plainly<T>(
      graph, std::string(name), BoundKind::lower_bound,
      options.gradient == GradientMode::likelihood ? detail::PlainGradient::partition : detail::PlainGradient::all,
      [options, adjoint, numbers](const DenseTables& tables, const GraphStructure& structure, InferenceTrace* trace,
                                  std::uint64_t) {
        return detail::field_ascent(tables, structure, numbers, options, trace, adjoint);
      },
      [own = options, numbers](Attributes& a) mutable { detail::exchange(a, numbers, own); });
  // In a program only the variables are of use.
  if (detail::capturing()) return result;
  if (options.gradient == GradientMode::implicit) result.adjoint = adjoint;
  detail::judge(result.trace, result.converged);
  detail::check_bound(graph, result, name);
  return result;
}

}  // namespace

void detail::exchange(Attributes& a, std::vector<std::int64_t>& clusters, Ascent& options) {
  a(clusters), a(options.iterations), a(options.tolerance), a(options.seed), a(options.tree.memory_limit);
  a(options.gradient), a(options.truncation);
  Attributes::require(options.gradient >= GradientMode::unrolled && options.gradient <= GradientMode::likelihood);
}

void detail::require_clusters(const GraphStructure& graph, const std::vector<std::int64_t>& clusters) {
  Attributes::require(static_cast<std::int64_t>(clusters.size()) == graph.size());
  for (const std::int64_t cluster : clusters) Attributes::require(cluster >= 0 && cluster < graph.size());
}

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const MeanField& options) {
  if (options.update == MeanFieldUpdate::parallel) return detail::parallel_mean_field(graph, options);
  return infer_clusters(graph, "mean_field", ascent_of(options),
                        [&](const auto&) { return detail::single_clusters(graph.variables()); });
}

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const StructuredMeanField& options) {
  return infer_clusters(graph, "structured_mean_field", ascent_of(options),
                        [&](const auto& scopes) { return detail::tree_clusters(graph.variables(), scopes); });
}

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const GeneralizedMeanField& options) {
  Ascent ascent = ascent_of(options);
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
