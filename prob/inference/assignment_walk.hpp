#pragma once

#include <limits>
#include <vector>

#include <tapestry/prob/discrete_model.hpp>

// Going through all assignments of variables that agree with evidence.
namespace tapestry::detail {

/// How many there are; may exceed 2^64.
inline double assignment_count(const std::vector<std::int64_t>& cardinalities, const Evidence& evidence) {
  std::vector<char> seen(cardinalities.size(), 0);
  for (const auto& observation : evidence) seen[static_cast<std::size_t>(observation.variable)] = 1;
  double count = 1;
  for (std::size_t v = 0; v < seen.size(); ++v) count *= seen[v] != 0 ? 1 : static_cast<double>(cardinalities[v]);
  return count;
}

/// Calls visit(assignment) for each, the last variable's states fastest.
template <class Visit>
void for_each_assignment(const std::vector<std::int64_t>& cardinalities, const Evidence& evidence, Visit visit) {
  std::vector<std::int64_t> assignment(cardinalities.size(), 0);
  std::vector<char> seen(assignment.size(), 0);
  for (const auto& [variable, state] : evidence) {
    assignment[static_cast<std::size_t>(variable)] = state;
    seen[static_cast<std::size_t>(variable)] = 1;
  }
  for (bool more = true; more;) {
    visit(assignment);
    more = false;
    for (std::size_t v = assignment.size(); v-- > 0 && !more;) {
      if (seen[v] != 0) continue;
      more = ++assignment[v] < cardinalities[v];
      if (!more) assignment[v] = 0;
    }
  }
}

/// Where the states that an assignment gives to a scope stand in its table.
inline std::size_t entry_at(const std::vector<std::int64_t>& assignment, const std::vector<std::int64_t>& scope,
                            const std::vector<std::int64_t>& cardinalities) {
  std::size_t entry = 0;
  for (const std::int64_t v : scope)
    entry = entry * static_cast<std::size_t>(cardinalities[static_cast<std::size_t>(v)]) +
            static_cast<std::size_t>(assignment[static_cast<std::size_t>(v)]);
  return entry;
}

/// Calls visit(assignment, score) for those that are possible, by tables of logarithms.
template <class Visit>
void for_each_score(const std::vector<std::int64_t>& cardinalities,
                    const std::vector<std::vector<std::int64_t>>& scopes, const std::vector<const double*>& tables,
                    const Evidence& evidence, Visit visit) {
  for_each_assignment(cardinalities, evidence, [&](const std::vector<std::int64_t>& assignment) {
    double score = 0;
    for (std::size_t f = 0; f < scopes.size(); ++f) score += tables[f][entry_at(assignment, scopes[f], cardinalities)];
    if (score != -std::numeric_limits<double>::infinity()) visit(assignment, score);
  });
}

}  // namespace tapestry::detail
