#pragma once

#include <vector>

#include <tapestry/prob/inference/composed_beliefs.hpp>
#include <tapestry/prob/inference/message_operations.hpp>

namespace tapestry::detail {

/// What MessageEngine computes, flooding, in operations on the tape, which have derivatives of any order. Messages are
/// [batch, all] in the engine's order. Those of unary factors are neither read nor made (they are zero): their
/// potentials are taken as they are, which gives the same beliefs.
template <class T>
class ComposedMessages {
 public:
  /// @throws GraphError for factors other than tables, and for temperature 0
  ComposedMessages(const Passing& passing, const std::vector<Var<T>>& potentials);

  Var<T> start() const { return joined(beliefs_.start()); }
  Var<T> step(const Var<T>& messages) const;
  /// The messages themselves, differentiated as the fixed point of step().
  Var<T> fixed_point(const Var<T>& messages) const;
  /// Outputs as BeliefLayout has them.
  std::vector<Var<T>> read(const Var<T>& messages) const;

 private:
  typename ComposedBeliefs<T>::Messages parts(const Var<T>& messages) const;
  Var<T> joined(const typename ComposedBeliefs<T>::Messages& messages) const;

  const Passing& passing_;
  std::vector<Var<T>> potentials_;  // divided by the temperature
  ComposedGraph<T> graph_;
  ComposedBeliefs<T> beliefs_;
};

extern template class ComposedMessages<float>;
extern template class ComposedMessages<double>;

}  // namespace tapestry::detail
