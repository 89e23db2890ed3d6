#pragma once

#include <memory>

#include <tapestry/prob/inference/composed_graph.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/inference/pairwise_passing.hpp>

namespace tapestry::detail {

/// How iterations of mean field went.
struct FieldProgress {
  InferenceTrace trace;
  bool converged = false;
  bool bounds = false;  ///< whether the trace is to have them
};

/// Mean field in operations on the tape. q is [batch, states].
template <class T>
class ComposedMeanField {
 public:
  ComposedMeanField(ComposedGraph<T> graph, typename ComposedGraph<T>::Potentials potentials)
      : graph_(std::move(graph)), potentials_(std::move(potentials)) {}
  /// Unary potentials and what all factors expect given q.
  Var<T> logits(const Var<T>& q) const;
  Var<T> start() const { return graph_.softmax_by_variable(potentials_.unary); }
  Var<T> step(const Var<T>& q, double damping) const;
  /// Expected score plus entropy: [batch].
  Var<T> bound(const Var<T>& q) const;

 private:
  ComposedGraph<T> graph_;  // shares its indices: what implicit gradients captured lives on
  typename ComposedGraph<T>::Potentials potentials_;
};

/// The same iterations by the pairwise kernels, in one operation. Outputs: the bound [batch], q [batch, states].
template <class T>
std::vector<Var<T>> pairwise_mean_field(const std::shared_ptr<const PairwisePlan>& plan,
                                        const std::vector<Var<T>>& potentials, const MeanField& options,
                                        std::int64_t batch, bool keep, const std::shared_ptr<FieldProgress>& progress);

/// `composed` leaves the kernels out.
template <class T>
InferenceResult<T> parallel_mean_field(const FactorGraph<T>& graph, const MeanField& options, bool composed = false);

extern template class ComposedMeanField<float>;
extern template class ComposedMeanField<double>;

}  // namespace tapestry::detail
