#pragma once

#include <vector>

#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/composed_graph.hpp>

namespace tapestry::detail {

/// Flooding sum-product in operations on the tape: what the fused operations' second derivatives are made of.
template <class T>
class ComposedBeliefs {
 public:
  /// Logarithms, normalised, -inf where impossible: of each group of factors over several variables one after the
  /// other, a message for each place: [batch, factors, K].
  using Messages = std::vector<Var<T>>;

  /// `weights` are counting numbers of all factors (those over one variable have one), or empty for ones.
  ComposedBeliefs(ComposedGraph<T> graph, typename ComposedGraph<T>::Potentials potentials,
                  const std::vector<double>& weights = {});

  Messages start() const;
  /// With constant cavities only the tables' own part is differentiable.
  Messages step(const Messages& messages, double damping, bool constant_cavities = false) const;
  /// `steps[b]` steps for each batch element, the last `recorded` of them differentiable. If `cut`, what comes before
  /// these, the cavities of the first one included, counts as constant.
  Messages run(Messages messages, const std::vector<std::int64_t>& steps, std::int64_t recorded, double damping,
               bool cut = false) const;
  /// Logarithms, not normalised: [batch, states].
  Var<T> log_beliefs(const Messages& messages) const;
  /// Log-partition [batch], and as results have them marginals of each variable group and, if asked, factor group.
  std::vector<Var<T>> read(const Messages& messages, bool factors) const;

 private:
  /// Sums of what is finite, and how many messages of -inf each state gets (nothing where tables are finite).
  struct Sums {
    Var<T> finite, impossible;
  };
  Sums sums(const Messages& messages) const;
  Var<T> cavity(const Sums& sums, const Var<T>& message, std::size_t group, int place) const;
  /// A factor's table with the cavities of its places but one (-1: of all).
  Var<T> joint(const Sums& sums, const Messages& messages, std::size_t group, std::size_t first, int except) const;

  ComposedGraph<T> graph_;
  typename ComposedGraph<T>::Potentials potentials_;  // tables divided by their weights
  bool forbidding_ = false;                           // whether tables have -inf
  std::vector<Var<T>> weights_;                       // of each group over several variables: [1, factors]; or none
};

extern template class ComposedBeliefs<float>;
extern template class ComposedBeliefs<double>;

}  // namespace tapestry::detail
