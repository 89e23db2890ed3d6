#pragma once

#include <memory>
#include <optional>

#include <tapestry/autodiff/variable.hpp>
#include <tapestry/prob/grid.hpp>

namespace tapestry {

namespace detail {
class PairwiseWiring;
}

/// Which variables pairwise factors join: built once, cheap to copy.
class PairwiseFactors {
 public:
  /// Factor f joins first[f] and second[f]. @throws ShapeError, IndexError for variables that do not exist or are equal
  PairwiseFactors(std::int64_t variables, const Indices& first, const Indices& second);
  std::int64_t variables() const;
  std::int64_t size() const;
  const std::shared_ptr<const detail::PairwiseWiring>& wiring() const { return wiring_; }

 private:
  std::shared_ptr<const detail::PairwiseWiring> wiring_;
};

/// Flooding sum-product on pairwise factors between variables of the same number of states, unrolled: the logarithms
/// of the beliefs, shaped as unary [variables, states] or [batch, variables, states]. potentials [count, states,
/// states] (rows: the first variable's states) are log-potentials, one for each factor, or one for all, or factor f's
/// is potentials[index[f]]; with a batch also [batch, count, states, states]. Differentiable once.
/// @throws ShapeError, IndexError, Error for options out of range or more than 64 states
template <class T>
Var<T> pairwise_belief_propagation(const PairwiseFactors& factors, const Var<T>& unary, const Var<T>& potentials,
                                   UnrolledOptions options = {}, const std::optional<Indices>& index = std::nullopt);

}  // namespace tapestry
