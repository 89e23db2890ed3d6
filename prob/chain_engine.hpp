#pragma once

#include <tapestry/prob/kernels/chain.hpp>
#include <tapestry/prob/pool_buffer.hpp>

namespace tapestry::detail {

/// Runs the chain kernels over a batch, split among the threads, and owns what they keep between forward and backward.
/// Shapes are those of ChainInput; outputs are overwritten unless said otherwise.
template <class T>
class ChainEngine {
 public:
  explicit ChainEngine(const ChainKernels<T>& kernels = detail::kernels<ChainKernels<T>>()) : kernels_(&kernels) {}

  /// log_partition[batch]. Without `keep` only best() and best_k() may follow. All of in's pointers must stay valid, or
  /// be replaced by rebind(), as long as the engine is used.
  void forward(const ChainInput<T>& in, T* log_partition, bool keep);
  /// The same numbers at other addresses.
  void rebind(const ChainInput<T>& in) { in_ = in; }
  /// g[batch] times marginals; grad_transitions is laid out as the transitions, and may be null.
  void backward(const T* g, T* grad_unary, T* grad_transitions) const;
  /// See ChainKernels::curvature; all is overwritten.
  void curvature(const T* g, const T* direction_unary, const T* direction_transitions, T* tangent_log_partition,
                 T* tangent_unary, T* tangent_transitions) const;
  void entropy(T* out) const;
  void sample(const T* uniforms, std::size_t samples, std::int64_t* paths) const;
  void best(const ChainInput<T>& in, std::int64_t* path, T* score) const;
  void best_k(const ChainInput<T>& in, std::size_t k, std::int64_t* paths, T* scores) const;

  const ChainInput<T>& input() const noexcept { return in_; }
  /// Elements of the transitions as given.
  static std::size_t transition_elements(const ChainInput<T>& in);

 private:
  const ChainKernels<T>* kernels_;
  ChainInput<T> in_{};
  ChainLayout layout_{};
  PoolBuffer<T> prepared_, saved_;
};

extern template class ChainEngine<float>;
extern template class ChainEngine<double>;

}  // namespace tapestry::detail
