#pragma once

#include <memory>
#include <vector>

#include <tapestry/prob/inference/clique_tree.hpp>
#include <tapestry/prob/inference/dense_tables.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>

namespace tapestry::detail {

/// What one structure needs for exact inference in any potentials.
struct ExactPlan {
  ExactPlan(std::shared_ptr<const GraphStructure> graph, const EliminationOptions& search, double limit)
      : structure(std::move(graph)),
        order(search),
        memory_limit(limit),
        tables(*structure),
        tree(tree_of(*structure, tables, {order, memory_limit})),
        states(observed(structure->evidence, true)) {}

  /// The structure's own, where the same was asked for before.
  static std::shared_ptr<const CliqueTree> tree_of(const GraphStructure& structure, const DenseTables& tables,
                                                   const CliqueTreeOptions& options);
  // A factor of its own for each variable, behind all others: what directions of variables' marginals are added to.
  static std::vector<std::vector<std::int64_t>> scopes_with_variables(const DenseTables& tables) {
    auto scopes = tables.scopes();
    const auto n = static_cast<std::int64_t>(tables.cardinalities().size());
    for (std::int64_t v = 0; v < n; ++v) scopes.push_back({v});
    return scopes;
  }
  static std::vector<std::int64_t> observed(const Evidence& evidence, bool states) {
    std::vector<std::int64_t> out;
    for (const auto& observation : evidence) out.push_back(states ? observation.state : observation.variable);
    return out;
  }
  /// Tables of all factors and, at `unary`, of all variables.
  std::vector<const double*> pointers(const DenseTables& loaded, const double* unary) const {
    std::vector<const double*> out = loaded.tables();
    for (const auto& group : structure->variables)
      for (std::int64_t v = 0; v < group.size(); ++v) out.push_back(unary + group.first_state + v * group.cardinality);
    return out;
  }

  std::shared_ptr<const GraphStructure> structure;
  EliminationOptions order;
  double memory_limit;
  DenseTables tables;
  std::shared_ptr<const CliqueTree> tree;
  std::vector<std::int64_t> states;
};

/// Directions in the space of all outputs: one array of numbers for each variable group and each factor group, null for
/// none.
template <class T>
struct Directions {
  std::vector<const T*> variables, factors;
};

struct MarginalChange {
  std::vector<double> variables;  // of all states
  std::vector<double> factors;    // of all written-out tables
};

/// The derivative of all marginals of a batch element in a direction. The Hessian of the log-partition is symmetric:
/// this is also the gradient of the marginals' dot product with the direction.
template <class T>
MarginalChange differentiate(const ExactPlan& plan, const std::vector<PotentialLayout>& layouts, DenseTables& tables,
                             const Directions<T>& directions, std::int64_t b, bool variables);

/// The shape of all factors' potentials of a group, each with its own, and of a variable group's marginals.
Shape whole_shape(const FactorStructure& group, std::int64_t batch);
Shape whole_shape(const VariableGroup& group, std::int64_t batch);

/// Potentials as a tensor of whole_shape(), and back.
template <class T>
Var<T> expand_potentials(const FactorStructure& group, const Var<T>& x, std::int64_t batch);
template <class T>
Var<T> reduce_potentials(const FactorStructure& group, const Var<T>& x, const Shape& shape, std::int64_t batch);

}  // namespace tapestry::detail
