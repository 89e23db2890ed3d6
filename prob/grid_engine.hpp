#pragma once

#include <tapestry/prob/kernels/grid_belief_propagation.hpp>
#include <tapestry/prob/pool_buffer.hpp>

namespace tapestry::detail {

/// Runs the belief propagation kernels over a grid, rows split among the threads, and owns the messages between forward
/// and backward.
template <class T>
class GridBeliefPropagationEngine {
 public:
  using Kernels = GridBeliefPropagationKernels<T>;
  explicit GridBeliefPropagationEngine(const Kernels& kernels = detail::kernels<Kernels>()) : kernels_(&kernels) {}

  /// Whether these potentials [states * states] can be computed in probabilities without loss.
  static bool applicable(const GridShape& grid, const T* horizontal, const T* vertical);

  /// log_marginals is laid out as unary. With `keep` backward may follow.
  void forward(const GridShape& grid, const T* unary, const T* horizontal, const T* vertical, int iterations, T damping,
               T* log_marginals, bool keep);
  /// All outputs are overwritten; those of the pairwise potentials may be null.
  void backward(const T* grad_log_marginals, T* grad_unary, T* grad_horizontal, T* grad_vertical) const;

 private:
  const Kernels* kernels_;
  GridShape grid_{};
  GridPlanes planes_{};
  int iterations_ = 0;
  T damping_ = 0;
  PoolBuffer<T> potentials_, unary_, messages_;
};

extern template class GridBeliefPropagationEngine<float>;
extern template class GridBeliefPropagationEngine<double>;

}  // namespace tapestry::detail
