#pragma once

#include <memory>
#include <vector>

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/pairwise_engine.hpp>

namespace tapestry::detail {

/// A graph of unary and pairwise tables over variables of one cardinality, as the pairwise kernels see it.
class PairwisePlan {
 public:
  /// Null where the graph has other factors, or too many states. With weights of all factors (none: ones) also where
  /// one of a pair is not positive, one of a variable not one, or their number another.
  static std::shared_ptr<const PairwisePlan> of(const std::shared_ptr<const GraphStructure>& graph,
                                                const std::vector<double>& weights = {});

  const GraphStructure& graph() const { return *graph_; }
  const std::shared_ptr<const GraphStructure>& structure() const { return graph_; }
  const std::shared_ptr<const PairwiseWiring>& wiring() const { return wiring_; }
  std::int64_t states() const { return states_; }
  bool pairwise(std::size_t group) const { return graph_->factors[group].arity() == 2; }
  std::int64_t pairs() const { return static_cast<std::int64_t>(wiring_->factors()); }
  /// Of the pairs; empty where all are one.
  const std::vector<double>& weights() const { return weights_; }

 private:
  std::shared_ptr<const GraphStructure> graph_;
  std::shared_ptr<const PairwiseWiring> wiring_;
  std::int64_t states_ = 0;
  std::vector<double> weights_;
};

/// The potentials of one batch element in the kernels' form, those of pairs divided by their weights. It keeps copies
/// where they do not lie so already.
template <class T>
class PairwisePotentials {
 public:
  /// @throws NumericalError for NaN or +inf
  void load(const PairwisePlan& plan, const std::vector<const T*>& data, const std::vector<PotentialLayout>& layouts,
            std::int64_t batch);
  /// The same numbers again, which may be elsewhere in memory.
  void refer(const PairwisePlan& plan, const std::vector<const T*>& data, const std::vector<PotentialLayout>& layouts,
             std::int64_t batch);
  PairwiseInput<T> input() const { return {unary_.data(), potentials_, index_.empty() ? nullptr : index_.data()}; }
  /// Different tables of pairwise potentials, and the first of a group's.
  std::size_t tables() const { return tables_; }
  std::size_t first_table(std::size_t group) const { return first_table_[group]; }

 private:
  PoolBuffer<T> unary_, copies_;
  const T* potentials_ = nullptr;
  PairwiseSchedule::Numbers<std::int64_t> index_;
  std::vector<std::size_t> first_table_;
  std::size_t tables_ = 0;
};

/// Flooding sum-product by the pairwise kernels: iterations, beliefs and the log-partition in one operation. The
/// options have the weights of the plan, one a factor or none.
template <class T>
InferenceResult<T> pass_pairwise(const FactorGraph<T>& graph, const std::shared_ptr<const PairwisePlan>& plan,
                                 const BeliefPropagation& options);

extern template class PairwisePotentials<float>;
extern template class PairwisePotentials<double>;

}  // namespace tapestry::detail
