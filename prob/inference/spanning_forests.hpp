#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/graph_structure.hpp>

namespace tapestry::detail {

/// How often each factor is part of a maximal set of factors without cycles, drawn at random until each was part of one
/// and at least `rounds` times: weights for which tree-reweighted belief propagation bounds the log-partition from
/// above. Unary factors have one.
std::vector<double> spanning_forest_weights(const GraphStructure& graph, int rounds, std::uint64_t seed);

/// Whether weights of all factors may be such frequencies: none above one, and in each connected part no more than sets
/// without cycles have. Necessary, and sufficient for trees and single cycles.
bool may_be_forest_weights(const GraphStructure& graph, const std::vector<double>& weights);

/// Which factors are in a maximal set without cycles that is filled by descending gain (of the largest sum of gains
/// where factors join two variables: Kruskal 1956).
std::vector<char> maximum_forest(const GraphStructure& graph, const std::vector<double>& gains);

}  // namespace tapestry::detail
