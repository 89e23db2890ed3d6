#include <tapestry/prob/inference/bound_checks.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/assignment_walk.hpp>
#include <tapestry/prob/inference/dense_tables.hpp>

namespace tapestry {
namespace {

std::atomic<double> most_assignments{0};
std::atomic<std::int64_t> comparisons{0};

/// The log-partition by enumeration; the tables hold one batch element.
double enumerate(const detail::GraphStructure& graph, const detail::DenseTables& tables) {
  double largest = -std::numeric_limits<double>::infinity(), total = 0;
  detail::for_each_score(tables.cardinalities(), tables.scopes(), tables.tables(), graph.evidence,
                         [&](const auto&, double score) {
                           if (score > largest) total *= std::exp(largest - score);
                           largest = std::max(largest, score);
                           total += std::exp(score - largest);
                         });
  return largest + std::log(total);
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
  if (assignment_count(cardinalities_of(structure), structure.evidence) > most) return;
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
