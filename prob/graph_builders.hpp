#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/factor_graph.hpp>

namespace tapestry {

// Index arrays of common graphs: [edges, 2] variable numbers, for FactorGraph::add_factors() and its kin. `ids` are the
// variables' numbers as FactorGraph::ids() gives them.

/// Edges between neighbours in a row: [n - 1, 2].
IndexTensor chain_edges(const IndexTensor& ids);
/// Edges from each variable's parent to it; parents[i] < 0 for a root. @throws IndexError, GraphError for a cycle
IndexTensor tree_edges(const IndexTensor& ids, const std::vector<std::int64_t>& parents);
/// Edges of a grid of any dimension, one array a direction: first those along the axes, and with `diagonal` all others
/// between cells whose coordinates differ by at most one (in two dimensions 8 neighbours: right-down and left-down).
std::vector<IndexTensor> grid_edges(const IndexTensor& ids, bool diagonal = false);
/// All pairs i < j.
IndexTensor complete_edges(const IndexTensor& ids);
/// All pairs of one of a and one of b.
IndexTensor bipartite_edges(const IndexTensor& a, const IndexTensor& b);

/// The arrays put together along their first axis.
IndexTensor concatenate_edges(const std::vector<IndexTensor>& parts);

/// A model from a file on the tape: variables of one cardinality, and factors of the same cardinalities, share a group.
/// The potentials are leaves that require a gradient if asked.
template <class T>
struct ModelGraph {
  FactorGraph<T> graph;
  std::vector<std::int64_t> variable;  ///< number in the graph of each of the model's variables
  /// Group and place in the group of each of the model's factors.
  std::vector<std::pair<std::int64_t, std::int64_t>> factor;
};
/// @throws what validate() throws
template <class T>
ModelGraph<T> factor_graph(const DiscreteModel& model, bool requires_grad = false);

/// A Bayesian network from conditional probability tables: tables[v] is [parents' states..., states of v], parents[v]
/// the parents' numbers. @throws NumericalError for cycles and for rows that do not sum to one, ShapeError, IndexError
DiscreteModel bayesian_network(const std::vector<std::int64_t>& cardinalities,
                               const std::vector<std::vector<std::int64_t>>& parents,
                               const std::vector<std::vector<double>>& tables);

extern template ModelGraph<float> factor_graph(const DiscreteModel&, bool);
extern template ModelGraph<double> factor_graph(const DiscreteModel&, bool);

}  // namespace tapestry
