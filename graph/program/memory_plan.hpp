#pragma once

#include <cstddef>
#include <vector>

#include <tapestry/graph/program/graph.hpp>

namespace tapestry::detail {

/// Where the computed values of a program are kept.
struct MemoryPlan {
  static constexpr std::size_t nowhere = ~std::size_t{0};
  std::vector<std::size_t> offset;  ///< of each value (by its root) in the arena
  std::vector<std::size_t> apart;   ///< which of the values asked for apart holds this one, or nowhere
  std::size_t arena_bytes = 0;
  std::size_t values_bytes = 0;  ///< of all values together, as a tape keeps them
};

/// Lets values that are not alive at the same time share memory, and results take the place of inputs that are read for
/// the last time. The values in `apart` get memory of their own outside the arena where that is possible (where it is
/// not, `apart` of the plan says so).
MemoryPlan plan_memory(const ProgramGraph& graph, const std::vector<ValueId>& apart);

}  // namespace tapestry::detail
