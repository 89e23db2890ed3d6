#pragma once

#include <cstdint>
#include <vector>

namespace tapestry {

/// How the next variable to eliminate is chosen.
enum class EliminationHeuristic {
  min_fill,           ///< the fewest new edges
  weighted_min_fill,  ///< the smallest sum over new edges of the product of both cardinalities
  min_degree,         ///< the fewest neighbours
  min_weight,         ///< the smallest table
  best  ///< the best of several runs of min_fill, min_weight and weighted_min_fill, with ties broken at random
};

struct EliminationOptions {
  EliminationHeuristic heuristic = EliminationHeuristic::best;
  /// Random runs of each heuristic at most; fewer where the tables found are so small that searching on would cost more
  /// than using them.
  int restarts = 100;
  std::uint64_t seed = 0;
};

/// An order of all variables and what eliminating them in it costs.
struct EliminationOrder {
  std::vector<std::int64_t> order;
  /// For each position, the neighbours of the variable when it is eliminated.
  std::vector<std::vector<std::int64_t>> neighbours;
  std::int64_t width = 0;  ///< the most neighbours of a variable when it is eliminated
  double entries = 0;      ///< of all tables over a variable and its neighbours; may exceed 2^64
  /// False where the order was given up because its tables could never be held: width and entries are then lower
  /// bounds of this order's, and the order is not whole.
  bool complete = true;
};

/// Orders variables for elimination in factors of the given scopes. @throws IndexError for a variable out of range.
EliminationOrder elimination_order(const std::vector<std::int64_t>& cardinalities,
                                   const std::vector<std::vector<std::int64_t>>& scopes,
                                   const EliminationOptions& options = {});

}  // namespace tapestry
