#include <tapestry/prob/inference/quality.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/message_parts.hpp>

namespace tapestry {
namespace {

const char* name_of(BoundKind kind) {
  switch (kind) {
    case BoundKind::exact:
      return "exact";
    case BoundKind::lower_bound:
      return "lower bound";
    case BoundKind::upper_bound:
      return "upper bound";
    default:
      return "estimate";
  }
}

/// The marginal of a variable in a batch element.
template <class T>
const T* marginal_of(const detail::GraphStructure& graph, const InferenceResult<T>& result, std::int64_t variable,
                     std::int64_t b) {
  std::size_t g = 0;
  while (variable >= graph.variables[g].first + graph.variables[g].size()) ++g;
  const auto& group = graph.variables[g];
  return result.variables[g].data() + (b * group.size() + variable - group.first) * group.cardinality;
}

}  // namespace

template <class T>
double local_inconsistency(const FactorGraph<T>& graph, const InferenceResult<T>& result) {
  const auto& structure = *graph.structure();
  double largest = 0;
  std::vector<std::int64_t> states;
  for (std::size_t g = 0; g < result.factors.size() && result.possible; ++g) {
    const auto& group = structure.factors[g];
    if (group.kind != FactorKind::table) continue;
    const std::int64_t entries = group.table().elements();
    for (std::int64_t b = 0; b < std::max<std::int64_t>(graph.batch(), 1); ++b)
      for (std::int64_t f = 0; f < group.factors(); ++f) {
        const T* p = result.factors[g].data() + (b * group.factors() + f) * entries;
        for (std::int64_t i = 0; i < group.arity(); ++i) {
          std::vector<double> own(static_cast<std::size_t>(group.cardinalities[static_cast<std::size_t>(i)]), 0.0);
          detail::for_each_entry(group, states, [&](std::int64_t entry) {
            own[static_cast<std::size_t>(states[static_cast<std::size_t>(i)])] += static_cast<double>(p[entry]);
          });
          const T* marginal = marginal_of(structure, result, group.scopes[f * group.arity() + i], b);
          for (std::size_t k = 0; k < own.size(); ++k)
            largest = std::max(largest, std::abs(own[k] - static_cast<double>(marginal[k])));
        }
      }
  }
  return largest;
}

template <class T>
std::string describe(const InferenceResult<T>& result) {
  std::ostringstream out;
  if (!result.possible) return "no assignment agrees with evidence and factors: log-partition -inf";
  out << name_of(result.kind) << ' ' << result.log_partition.data()[0];
  if (result.log_partition.size() > 1) out << " (first of " << result.log_partition.size() << ")";
  const T* const z = result.log_partition.data();
  if (std::count(z, z + result.log_partition.size(), -std::numeric_limits<T>::infinity()) > 0)
    out << "; no assignment that evidence and factors allow was found";
  const auto& trace = result.trace;
  if (!result.standard_errors.empty()) {
    double error = 0, effective = std::numeric_limits<double>::infinity();
    for (const auto& group : result.standard_errors)
      for (const T e : group) error = std::max(error, static_cast<double>(e));
    for (const auto& group : result.effective_samples)
      for (const T n : group) effective = std::min(effective, static_cast<double>(n));
    out << "; standard errors up to " << error << ", " << effective << " effective samples at least";
  }
  if (result.converged) {
    if (trace.iterations > 0) out << "; converged in " << trace.iterations << " iterations";
    return out.str();
  }
  out << "; did not converge in " << trace.iterations << " iterations";
  if (!trace.residual.empty())
    out << ": " << (trace.oscillates ? "oscillates, " : "") << "last change " << trace.residual.back();
  if (trace.oscillates) out << " (damping may help)";
  return out.str();
}

template <class T>
InferenceQuality inference_quality(const FactorGraph<T>& graph, const InferenceResult<T>& result,
                                   const InferenceResult<T>& better) {
  const auto& structure = *graph.structure();
  const auto fits = [&](const InferenceResult<T>& r) {
    if (r.variables.size() != structure.variables.size()) return false;
    for (std::size_t g = 0; g < r.variables.size(); ++g)
      if (r.variables[g].size() !=
          std::max<std::int64_t>(graph.batch(), 1) * structure.variables[g].size() * structure.variables[g].cardinality)
        return false;
    return r.log_partition.size() == std::max<std::int64_t>(graph.batch(), 1);
  };
  if (!fits(result) || !fits(better)) fail<ShapeError>("inference_quality", "the results are not both of this graph");
  InferenceQuality out;
  out.kind = result.kind;
  out.seconds = result.trace.seconds;
  out.iterations = result.trace.iterations;
  out.converged = result.converged;
  out.oscillates = result.trace.oscillates;
  out.inconsistency = local_inconsistency(graph, result);
  out.log_partition = static_cast<double>(result.log_partition.data()[0]);
  for (const auto& errors : result.standard_errors)
    for (const T e : errors) out.standard_error = std::max(out.standard_error, static_cast<double>(e));
  std::vector<char> seen(static_cast<std::size_t>(structure.size()), 0);
  for (const auto& [variable, state] : structure.evidence) seen[static_cast<std::size_t>(variable)] = 1;
  double variables = 0, probabilities = 0;
  const std::int64_t batches = std::max<std::int64_t>(graph.batch(), 1);
  for (std::int64_t b = 0; b < batches; ++b) {
    const double difference = static_cast<double>(result.log_partition.data()[b] - better.log_partition.data()[b]);
    out.log_partition_error = std::max(out.log_partition_error, std::abs(difference));
    for (std::size_t g = 0; g < structure.variables.size(); ++g) {
      const auto& group = structure.variables[g];
      const std::int64_t K = group.cardinality;
      for (std::int64_t v = 0; v < group.size(); ++v) {
        if (seen[static_cast<std::size_t>(group.first + v)] != 0) continue;
        const T* q = result.variables[g].data() + (b * group.size() + v) * K;
        const T* p = better.variables[g].data() + (b * group.size() + v) * K;
        for (std::int64_t k = 0; k < K; ++k) {
          const double error = std::abs(static_cast<double>(q[k]) - static_cast<double>(p[k]));
          out.max_error = std::max(out.max_error, error);
          out.mean_error += error;
          if (p[k] > 0)
            out.divergence +=
                static_cast<double>(p[k]) * std::log(static_cast<double>(p[k]) / static_cast<double>(q[k]));
        }
        variables += 1;
        probabilities += static_cast<double>(K);
      }
    }
  }
  out.mean_error /= std::max(probabilities, 1.0);
  // Of equal distributions rounding may leave a negative one.
  out.divergence = std::max(out.divergence / std::max(variables, 1.0), 0.0);
  return out;
}

template <class T>
FactorGraph<T> batch_elements(const FactorGraph<T>& graph, const std::vector<std::int64_t>& elements) {
  const std::int64_t batch = graph.batch(), n = static_cast<std::int64_t>(elements.size());
  if (batch == 0) fail<GraphError>("batch_elements", "the graph has no batch axis");
  for (const std::int64_t b : elements)
    if (b < 0 || b >= batch) fail<IndexError>("batch_elements", "element ", b, " of ", batch);
  FactorGraph<T> out = graph;
  for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
    const Var<T>& x = graph.all_potentials()[g];
    const auto layout = PotentialLayout::of(graph.factor_groups()[g], x.shape());
    if (layout.batch == 0) {
      out.set_potentials(static_cast<std::int64_t>(g), x.detach());
      continue;
    }
    Shape shape = x.shape();
    shape[0] = n;
    Tensor<T> part = empty_tensor<T>(shape);
    for (std::int64_t i = 0; i < n; ++i)
      std::copy_n(x.data() + elements[static_cast<std::size_t>(i)] * layout.batch_stride, layout.batch_stride,
                  part.data() + i * layout.batch_stride);
    out.set_potentials(static_cast<std::int64_t>(g), Var<T>(std::move(part)));
  }
  return out;
}

template <class T>
std::optional<InferenceMonitor::Report> InferenceMonitor::step(const FactorGraph<T>& graph) {
  const std::int64_t step = steps_++;
  if (step % std::max<std::int64_t>(options_.every, 1) != 0) return std::nullopt;
  const NoGradients off;
  const std::int64_t batch = graph.batch();
  FactorGraph<T> part = graph;
  if (batch > options_.examples && options_.examples > 0) {
    Generator random = Generator::from_state({options_.seed, 0, static_cast<std::uint64_t>(step) << 32});
    const IndexTensor order = random.permutation(batch);
    part = batch_elements(graph, {order.data(), order.data() + options_.examples});
  }
  const auto better = better_(part);
  history_.push_back({step, inference_quality(part, cheap_(part), better), better.kind == BoundKind::exact});
  history_.back().quality.method = cheap_.name();
  return history_.back();
}

#define TAPESTRY_INSTANTIATE(T)                                                                   \
  template double local_inconsistency(const FactorGraph<T>&, const InferenceResult<T>&);          \
  template std::string describe(const InferenceResult<T>&);                                       \
  template InferenceQuality inference_quality(const FactorGraph<T>&, const InferenceResult<T>&,   \
                                              const InferenceResult<T>&);                         \
  template std::optional<InferenceMonitor::Report> InferenceMonitor::step(const FactorGraph<T>&); \
  template FactorGraph<T> batch_elements(const FactorGraph<T>&, const std::vector<std::int64_t>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
