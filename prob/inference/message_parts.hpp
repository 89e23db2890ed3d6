#pragma once

#include <vector>

#include <tapestry/prob/graph_structure.hpp>
#include <tapestry/prob/inference/structured_factor.hpp>

namespace tapestry::detail {

inline constexpr double minus_infinity = SoftMaximum::minus_infinity;

/// Calls visit(entry, states) for all entries of a table.
template <class Visit>
void for_each_entry(const FactorStructure& group, std::vector<std::int64_t>& states, Visit visit) {
  const auto arity = group.cardinalities.size();
  states.assign(arity, 0);
  for (std::int64_t entry = 0;; ++entry) {
    visit(entry);
    std::size_t i = arity;
    while (i > 0 && ++states[i - 1] == group.cardinalities[i - 1]) states[--i] = 0;
    if (i == 0) return;
  }
}

}  // namespace tapestry::detail
