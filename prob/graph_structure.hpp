#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tapestry/autodiff/tensor.hpp>
#include <tapestry/prob/discrete_model.hpp>
#include <tapestry/prob/kept_plans.hpp>

namespace tapestry {

/// What a factor's potential depends on. All but `table` join binary variables, any number of them, and have a message
/// rule that is linear in it.
enum class FactorKind {
  table,        ///< all states: potentials [K1, ..., Kr], or [K1 * ... * Kr] beyond FactorStructure::most_axes
  parity,       ///< the number of ones being even or odd: potentials [2]
  logic_or,     ///< whether the last variable is the OR of the others (entry 0) or not (entry 1): potentials [2]
  logic_and,    ///< the same for AND
  cardinality,  ///< the number of ones: potentials [arity + 1]
  at_most_one   ///< none (entry 0) or variable i alone (entry i + 1) being one; more is impossible: [arity + 1]
};

/// Variables of one cardinality, arranged in any shape. Their numbers in the graph are consecutive.
struct VariableGroup {
  std::string name;
  Shape shape;
  std::int64_t cardinality = 0;
  std::int64_t first = 0;        ///< number of the first variable
  std::int64_t first_state = 0;  ///< its place among the states of all variables
  std::int64_t size() const { return shape.elements(); }
};

/// Factors of one kind over variables of the same cardinalities.
struct FactorStructure {
  /// Variables that tables have an axis each for; beyond, all states are one axis, the last variable fastest.
  static constexpr std::int64_t most_axes = Shape::max_rank - 2;

  std::string name;
  FactorKind kind = FactorKind::table;
  Indices scopes;                           ///< [factors, arity], variable numbers
  std::vector<std::int64_t> cardinalities;  ///< of each place in the scope
  std::int64_t factors() const { return scopes.shape()[0]; }
  std::int64_t arity() const { return scopes.shape()[1]; }
  /// Potentials of one factor.
  Shape table() const;
  /// Which potential applies to the states at scope's places; -1 where they are impossible.
  std::int64_t entry(const std::int64_t* states) const;
};

/// How potentials lie in memory: a batch entry, a factor, an entry of its table.
struct PotentialLayout {
  std::int64_t batch = 0;         ///< 0 without a batch axis
  std::int64_t batch_stride = 0;  ///< in elements; 0 where all share
  std::int64_t factor_stride = 0;
  std::int64_t entries = 1;
  /// For potentials [table], [factors, table], [batch, 1, table] or [batch, factors, table].
  /// @throws ShapeError naming the group
  static PotentialLayout of(const FactorStructure& group, const Shape& potentials);
};

namespace detail {

/// A factor graph without its potentials. Once used by an operation it does not change any more.
struct GraphStructure {
  std::vector<VariableGroup> variables;
  std::vector<FactorStructure> factors;
  Evidence evidence;
  /// For repeated inference, whatever the potentials.
  mutable KeptPlans plans;

  std::int64_t size() const { return variables.empty() ? 0 : variables.back().first + variables.back().size(); }
  std::int64_t states() const {
    return variables.empty() ? 0
                             : variables.back().first_state + variables.back().size() * variables.back().cardinality;
  }
  const VariableGroup& group_of(std::int64_t variable) const;
  std::int64_t cardinality(std::int64_t variable) const { return group_of(variable).cardinality; }
  std::int64_t state_offset(std::int64_t variable) const {
    const auto& group = group_of(variable);
    return group.first_state + (variable - group.first) * group.cardinality;
  }
};

}  // namespace detail
}  // namespace tapestry
