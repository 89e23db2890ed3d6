#pragma once

#include <memory>
#include <vector>

#include <tapestry/prob/factor_graph.hpp>

namespace tapestry::detail {

/// A factor graph of tables in operations on the tape: what inference composed of them works on. Quantities of all
/// states are [batch, states] in the order of the variables.
template <class T>
class ComposedGraph {
 public:
  /// batch is 0 without a batch axis. @throws GraphError for factors other than tables
  ComposedGraph(std::shared_ptr<const GraphStructure> structure, std::int64_t batch);

  const GraphStructure& structure() const { return *structure_; }
  std::int64_t rows() const { return rows_; }

  struct Potentials {
    Var<T> unary;                ///< of all unary factors and evidence: [batch, states]
    std::vector<Var<T>> tables;  ///< of factors over several variables: [batch or 1, factors or 1, K1, ..., Kr]
    Var<T> constant;             ///< of factors over none: [batch] or [1]
  };
  Potentials arrange(const std::vector<Var<T>>& potentials) const;

  /// Groups of factors over several variables, and their places in a scope.
  std::size_t groups() const { return groups_.size(); }
  int arity(std::size_t group) const { return static_cast<int>(groups_[group].places.size()); }
  std::size_t number(std::size_t group) const { return groups_[group].number; }
  /// What belongs to the variables at a place of the scopes: [batch, factors, K].
  Var<T> gather(const Var<T>& states, std::size_t group, int place) const;
  /// The transpose of gather(): [batch, states].
  Var<T> scatter(const Var<T>& messages, std::size_t group, int place) const;
  /// With axes of one for the other places: [batch, factors, 1, ..., K, ..., 1].
  Var<T> spread(const Var<T>& gathered, std::size_t group, int place) const;

  /// f on [batch, variables, K] of each variable group.
  template <class F>
  Var<T> by_group(const Var<T>& states, F f) const;
  Var<T> softmax_by_variable(const Var<T>& logits) const;
  Var<T> logsumexp_by_variable(const Var<T>& logits) const;  ///< [batch, variables]
  /// The parts of [batch, states] as results have them: [shape..., K] or with the batch.
  std::vector<Var<T>> by_variable_group(const Var<T>& states) const;
  /// What belongs to the factors of a group over one variable or none: [batch, factors, K] or [batch, factors].
  Var<T> small_factor(const Var<T>& states, const FactorStructure& group) const;
  /// [batch, factors, table] with or without the batch axis, as results have it.
  Var<T> as_result(const Var<T>& factors) const;

 private:
  struct Group {
    std::size_t number;           // among the structure's
    std::vector<Indices> places;  // entries of [batch, factors, K] in [batch, states]
  };
  std::shared_ptr<const GraphStructure> structure_;
  std::int64_t batch_, rows_;
  std::vector<Group> groups_;
};

extern template class ComposedGraph<float>;
extern template class ComposedGraph<double>;

}  // namespace tapestry::detail
