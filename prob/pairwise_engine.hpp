#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <tapestry/prob/kernels/pairwise_probabilities.hpp>
#include <tapestry/prob/pool_buffer.hpp>

namespace tapestry::detail {

/// The wiring of pairwise factors: factor f joins the variables first[f] and second[f].
class PairwiseWiring {
 public:
  /// The arrays are copied.
  PairwiseWiring(std::size_t variables, std::size_t factors, const std::int64_t* first, const std::int64_t* second);
  PairwiseGraph graph(std::size_t states) const;
  std::size_t variables() const { return offsets_.size() - 1; }
  std::size_t factors() const { return first_.size(); }

 private:
  std::vector<std::int64_t> first_, second_, offsets_, incident_;
};

/// Runs the kernels of pairwise belief propagation, factors and variables split among the threads, and owns the
/// messages between forward and backward.
template <class T>
class PairwiseBeliefPropagationEngine {
 public:
  using Kernels = PairwiseBeliefPropagationKernels<T>;
  static constexpr std::size_t most_states = 64;

  using Probabilities = PairwiseProbabilityKernels<T>;
  /// Without kernels for probabilities everything is computed in logarithms.
  PairwiseBeliefPropagationEngine(std::shared_ptr<const PairwiseWiring> wiring, std::size_t states,
                                  const Kernels& kernels = detail::kernels<Kernels>(),
                                  const Probabilities* probabilities = &detail::kernels<Probabilities>())
      : kernels_(&kernels), probabilities_(probabilities), wiring_(std::move(wiring)), graph_(wiring_->graph(states)) {}

  /// unary and log_marginals are [variables, states]; the potential of factor f is at potentials + index[f] * states^2
  /// (f itself without an index; no index is kept). With `keep` backward may follow.
  void forward(const T* unary, const T* potentials, const std::int64_t* index, int iterations, T damping,
               T* log_marginals, bool keep);
  /// After forward with the same numbers. grad_potentials [potential_count, states, states] may be null; all is
  /// overwritten.
  void backward(const T* unary, const T* potentials, const std::int64_t* index, const T* log_marginals,
                const T* grad_log_marginals, std::size_t potential_count, T* grad_unary, T* grad_potentials) const;

 private:
  std::size_t blocks() const { return (graph_.factors + kernels_->lanes - 1) / kernels_->lanes; }
  std::size_t message_elements() const { return blocks() * 2 * graph_.states * kernels_->lanes; }

  void forward_in_probabilities(const T* unary, T* log_marginals, bool keep);
  void forward_in_logarithms(const T* unary, const T* potentials, const std::int64_t* index, T* log_marginals,
                             bool keep);
  void backward_in_probabilities(T* grad_beliefs, T* grad_unary, T* pairs) const;
  void backward_in_logarithms(const T* unary, const T* potentials, const std::int64_t* index, T* grad_beliefs,
                              T* grad_unary, T* pairs) const;
  std::size_t block_grain() const { return 16384 / (kernels_->lanes * graph_.states * graph_.states); }
  std::size_t variable_grain() const { return 4096 / graph_.states; }

  const Kernels* kernels_;
  const Probabilities* probabilities_;
  std::shared_ptr<const PairwiseWiring> wiring_;
  PairwiseGraph graph_{};
  int iterations_ = 0;
  T damping_ = 0;
  bool infinite_ = false;  // whether messages can be -inf
  bool in_probabilities_ = false;
  PoolBuffer<T> exponentials_, range_, messages_, cavities_;
};

extern template class PairwiseBeliefPropagationEngine<float>;
extern template class PairwiseBeliefPropagationEngine<double>;

}  // namespace tapestry::detail
