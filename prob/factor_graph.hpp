#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include <tapestry/autodiff/variable.hpp>
#include <tapestry/prob/graph_structure.hpp>

namespace tapestry {

/// Discrete variables and factors, both in groups. A group of factors is an array of variable numbers and one tensor of
/// log-potentials, a variable of the tape, which all its factors share or which has a slice for each; -inf forbids.
/// The probability of an assignment is proportional to exp(score).
///
///     FactorGraph<float> graph;
///     const auto pixels = graph.add_variables("pixels", {height, width}, states);
///     graph.add_unary("unary", pixels, network(image));                       // [height, width, states]
///     for (auto& edges : grid_edges(graph.ids(pixels))) graph.add_factors("pairwise", edges, compatibility);
///     auto result = infer(graph, JunctionTree{});
template <class T>
class FactorGraph {
 public:
  FactorGraph() : structure_(std::make_shared<detail::GraphStructure>()) {}

  /// Adds variables of `cardinality` states each. @return the group's index @throws ShapeError
  std::int64_t add_variables(std::string name, const Shape& shape, std::int64_t cardinality);
  /// The variables' numbers, in the group's shape.
  IndexTensor ids(std::int64_t group) const;

  /// Factors with tables over the variables of scopes [factors, arity]: general ones of any arity (the axes of more
  /// than 14 variables are one). Potentials are [K1, ..., Kr] for all, [factors, K1, ..., Kr], or with a batch axis
  /// [batch, 1 or factors, K1, ..., Kr].
  /// @return the group's index @throws IndexError, ShapeError
  std::int64_t add_factors(std::string name, const IndexTensor& scopes, Var<T> potentials);
  /// One factor for each variable of a group: potentials [K], [shape..., K], or [batch, shape..., K].
  /// Soft evidence is such a factor.
  std::int64_t add_unary(std::string name, std::int64_t variables, Var<T> potentials);
  /// Pairwise factors worth `weight` where both states agree: weight [], [factors] or [batch, factors].
  std::int64_t add_potts(std::string name, const IndexTensor& edges, const Var<T>& weight);
  /// Pairwise factors that do not tell their ends apart: the potential of states a and b is that of b and a. `packed`
  /// holds the K (K + 1) / 2 entries with a <= b, row by row, as its last axis; axes before it as in add_factors().
  std::int64_t add_symmetric(std::string name, const IndexTensor& edges, const Var<T>& packed);
  /// Factors of another kind than tables, over binary variables; potentials as the kind says, with the same leading
  /// axes.
  std::int64_t add_structured(std::string name, FactorKind kind, const IndexTensor& scopes, Var<T> potentials);

  /// Puts other potentials, of the same or another batch, into a group made before. @throws ShapeError
  void set_potentials(std::int64_t group, Var<T> potentials);
  const Var<T>& potentials(std::int64_t group) const { return potentials_.at(static_cast<std::size_t>(group)); }

  /// Clamps a variable to a state. @throws IndexError
  void observe(std::int64_t variable, std::int64_t state);
  void observe(const Evidence& evidence);
  void clear_evidence();
  const Evidence& evidence() const { return structure_->evidence; }

  std::int64_t variables() const { return structure_->size(); }
  const std::vector<VariableGroup>& variable_groups() const { return structure_->variables; }
  const std::vector<FactorStructure>& factor_groups() const { return structure_->factors; }
  std::int64_t cardinality(std::int64_t variable) const { return structure_->cardinality(variable); }
  /// The common batch size of all potentials, 0 where none has a batch axis. @throws ShapeError where they differ
  std::int64_t batch() const;

  /// Sum of the potentials at an assignment [variables], or at [batch, variables]; shape [] or [batch]. -inf where
  /// evidence or a factor forbids it. @throws ShapeError, IndexError
  Var<T> score(const IndexTensor& assignment) const;

  /// For inference methods.
  const std::shared_ptr<const detail::GraphStructure>& structure() const;
  const std::vector<Var<T>>& all_potentials() const { return potentials_; }

 private:
  /// The structure for a change: a copy where operations hold the present one.
  detail::GraphStructure& change();
  std::int64_t add(FactorStructure group, Var<T> potentials);

  std::shared_ptr<const detail::GraphStructure> structure_;
  std::vector<Var<T>> potentials_;
};

extern template class FactorGraph<float>;
extern template class FactorGraph<double>;

}  // namespace tapestry
