#include <tapestry/prob/inference/field_ascent.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/prob/inference/gibbs_sampler.hpp>
#include <tapestry/prob/inference/message_operations.hpp>

namespace tapestry::detail {
namespace {

/// Draws in the search for a start that factors allow.
std::int64_t search_steps(std::size_t factors) {
  return std::min<std::int64_t>(1000000, 20000 + 2000 * static_cast<std::int64_t>(factors));
}

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

struct Sweeps {
  std::int64_t made = 0;
  bool converged = false;
};

Sweeps ascend(ClusterMeanField& field, const Ascent& options, InferenceTrace* trace) {
  Sweeps out;
  while (out.made < options.iterations && !out.converged) {
    const double change = field.sweep();
    ++out.made;
    if (trace != nullptr) {
      trace->residual.push_back(change);
      trace->bound.push_back(field.bound());
      ++trace->iterations;
      trace->updates += field.clusters();
    }
    out.converged = change <= options.tolerance;
  }
  return out;
}

/// Passes gradients back through the last of `sweeps` from the field's start; keeps what sweeps replaced for `kept` of
/// them at a time.
void pass_back(ClusterMeanField& field, std::int64_t sweeps, std::int64_t last, std::int64_t kept,
               FieldGradients& gradients) {
  // States at the beginning of each segment.
  std::vector<ClusterMeanField::State> starts;
  for (std::int64_t i = 0; i < sweeps; ++i) {
    if (i >= sweeps - last && (i - (sweeps - last)) % kept == 0) starts.push_back(field.state());
    field.sweep();
  }
  for (std::size_t s = starts.size(); s-- > 0;) {
    const std::int64_t begin = sweeps - last + static_cast<std::int64_t>(s) * kept, n = std::min(kept, sweeps - begin);
    std::vector<ClusterMeanField::Replaced> replaced(static_cast<std::size_t>(n));
    field.set_state(starts[s]);
    for (auto& one : replaced) field.sweep(&one);
    if (s + 1 == starts.size()) field.enter(gradients);
    for (std::size_t i = replaced.size(); i-- > 0;) field.sweep_backward(replaced[i], gradients);
  }
}

/// The series of the implicit function theorem, at the last sweep.
void solve(ClusterMeanField& field, const Sweeps& sweeps, FieldGradients& gradients, FixedPointReport& report) {
  for (std::int64_t i = 0; i + 1 < sweeps.made; ++i) field.sweep();
  ClusterMeanField::Replaced replaced;
  field.sweep(&replaced);
  const auto state = field.state();
  field.enter(gradients);
  double largest = 0, left = 0, first = 0;
  const int most = implicit_steps(sweeps.converged, sweeps.made);
  int n = 0;
  do {
    ++n;
    field.set_state(state);
    field.sweep_backward(replaced, gradients);
    left = gradients.remaining();
    largest = std::max(largest, left);
    if (n == 1) first = left;
  } while (n < most && left > implicit_tolerance * largest && (sweeps.converged || left <= first));
  report_adjoint(report, sweeps.converged, left <= implicit_tolerance * largest, n, largest > 0 ? left / largest : 0,
                 implicit_tolerance);
}

}  // namespace

PlainResult field_ascent(const DenseTables& tables, const GraphStructure& graph,
                         const std::vector<std::int64_t>& clusters, const Ascent& options, InferenceTrace* trace,
                         const std::shared_ptr<FixedPointReport>& adjoint) {
  const auto cardinalities = tables.cardinalities();
  const auto field = std::make_shared<ClusterMeanField>(cardinalities, tables.scopes(), tables.tables(), graph.evidence,
                                                        clusters, options.tree);
  PlainResult result;
  std::vector<std::int64_t> start;
  Sweeps sweeps = ascend(*field, options, trace);
  if (field->bound() == minus_infinity) {
    GibbsSampler sampler(cardinalities, tables.scopes(), tables.tables(), graph.evidence, options.seed);
    if (sampler.find_possible(search_steps(tables.scopes().size()))) {
      sampler.climb();
      start = sampler.state();
      field->start(&start);
      sweeps = ascend(*field, options, trace);
    }
  }
  result.converged = sweeps.converged;
  result.log_partition = field->bound();
  result.variables = field->variables();
  result.factor = [field](std::size_t f, double* out) { field->factor(f, out); };
  auto from = result.variables.begin();
  for (const std::int64_t k : cardinalities) {
    result.assignment.push_back(std::max_element(from, from + k) - from);
    from += k;
  }
  for (const auto& [variable, state] : graph.evidence) result.assignment[static_cast<std::size_t>(variable)] = state;
  if (options.gradient == GradientMode::likelihood) return result;
  result.backward = [field, start, sweeps, options, adjoint](const PlainGradients& given, const DenseTables& at,
                                                             std::vector<double>& out) {
    field->set_tables(at.tables());
    field->start(start.empty() ? nullptr : &start);
    FieldGradients gradients = field->gradients(given);
    const auto root = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(sweeps.made))));
    if (options.gradient == GradientMode::implicit)
      solve(*field, sweeps, gradients, *adjoint);
    else if (options.gradient == GradientMode::truncated)
      pass_back(*field, sweeps.made, std::min(options.truncation, sweeps.made), std::max<std::int64_t>(sweeps.made, 1),
                gradients);
    else
      pass_back(*field, sweeps.made, sweeps.made,
                options.gradient == GradientMode::checkpointed ? std::max<std::int64_t>(root, 1)
                                                               : std::max<std::int64_t>(sweeps.made, 1),
                gradients);
    std::size_t to = 0;
    for (const auto& table : gradients.tables)
      for (const double g : table) out[to++] += g;
  };
  return result;
}

}  // namespace tapestry::detail
