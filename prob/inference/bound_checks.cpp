#include <tapestry/prob/inference/bound_checks.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/dense_tables.hpp>

namespace tapestry {
namespace {

std::atomic<double> most_assignments{0};
std::atomic<std::int64_t> comparisons{0};

/// The log-partition by enumeration; the tables hold one batch element.
double enumerate(const detail::GraphStructure& graph, const detail::DenseTables& tables) {
  const auto cardinalities = tables.cardinalities();
  const auto scopes = tables.scopes();
  std::vector<std::int64_t> states(cardinalities.size(), 0), seen(cardinalities.size(), -1);
  for (const auto& [variable, state] : graph.evidence)
    seen[static_cast<std::size_t>(variable)] = states[static_cast<std::size_t>(variable)] = state;
  double largest = -std::numeric_limits<double>::infinity(), total = 0;
  while (true) {
    double score = 0;
    for (std::size_t f = 0; f < scopes.size(); ++f) {
      std::int64_t entry = 0;
      for (const std::int64_t v : scopes[f])
        entry = entry * cardinalities[static_cast<std::size_t>(v)] + states[static_cast<std::size_t>(v)];
      score += tables.tables()[f][entry];
    }
    if (score > largest) {
      total = total * std::exp(largest - score) + 1;
      largest = score;
    } else if (score != -std::numeric_limits<double>::infinity()) {
      total += std::exp(score - largest);
    }
    bool advanced = false;
    for (std::size_t v = states.size(); v-- > 0 && !advanced;) {
      if (seen[v] >= 0) continue;
      advanced = ++states[v] < cardinalities[v];
      if (!advanced) states[v] = 0;
    }
    if (!advanced) return largest + std::log(total);
  }
}

}  // namespace

BoundChecks::BoundChecks(double assignments) : before_(most_assignments.exchange(assignments)) {}
BoundChecks::~BoundChecks() {
  most_assignments = before_;
}
std::int64_t BoundChecks::made() {
  return comparisons;
}

namespace detail {

template <class T>
void check_bound(const FactorGraph<T>& graph, const InferenceResult<T>& result, std::string_view method) {
  const double most = most_assignments;
  if (most <= 0 || result.kind == BoundKind::estimate) return;
  const auto& structure = *graph.structure();
  double count = 1;
  for (const auto& group : structure.variables)
    count *= std::pow(static_cast<double>(group.cardinality), static_cast<double>(group.size()));
  for (const auto& [variable, state] : structure.evidence) count /= static_cast<double>(graph.cardinality(variable));
  if (count > most) return;
  std::vector<const T*> inputs;
  std::vector<PotentialLayout> layouts;
  for (std::size_t g = 0; g < structure.factors.size(); ++g) {
    inputs.push_back(graph.all_potentials()[g].data());
    layouts.push_back(PotentialLayout::of(structure.factors[g], graph.all_potentials()[g].shape()));
  }
  DenseTables tables(structure);
  for (std::int64_t b = 0; b < result.log_partition.size(); ++b) {
    tables.load(inputs, layouts, b);
    const double exact = enumerate(structure, tables), given = static_cast<double>(result.log_partition.data()[b]);
    ++comparisons;
    const double allowed = (std::is_same_v<T, float> ? 1e-4 : 1e-6) * (1 + std::abs(exact));
    const bool too_high = result.kind != BoundKind::upper_bound && !(given <= exact + allowed);
    const bool too_low = result.kind != BoundKind::lower_bound && !(given >= exact - allowed);
    if (too_high || too_low)
      fail<NumericalError>(method, "the log-partition of ", given, " is ", too_high ? "above" : "below",
                           " that of enumeration, ", exact);
  }
}

template void check_bound(const FactorGraph<float>&, const InferenceResult<float>&, std::string_view);
template void check_bound(const FactorGraph<double>&, const InferenceResult<double>&, std::string_view);

}  // namespace detail
}  // namespace tapestry
