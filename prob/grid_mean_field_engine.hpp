#pragma once

#include <tapestry/prob/kernels/grid_mean_field.hpp>
#include <tapestry/prob/pool_buffer.hpp>
#include <tapestry/prob/row_tiles.hpp>

namespace tapestry::detail {

/// Runs the mean-field kernels over a grid, several iterations at a time in tiles of rows, and owns the iterates
/// between forward and backward.
template <class T>
class GridMeanFieldEngine {
 public:
  using Kernels = GridMeanFieldKernels<T>;
  explicit GridMeanFieldEngine(const Kernels& kernels = detail::kernels<Kernels>()) : kernels_(&kernels) {}

  /// log_q is laid out as unary; compatibility is [directions, states, states] with finite entries, directions 1, 2 or
  /// 4; damping in [0, 1). With `keep` backward may follow.
  void forward(const GridShape& grid, const T* unary, std::size_t directions, const T* compatibility, int iterations,
               T damping, T* log_q, bool keep);
  /// Both outputs are overwritten; that of the compatibilities may be null.
  void backward(const T* grad_log_q, T* grad_unary, T* grad_compatibility) const;

 private:
  RowTiles row_tiles() const;
  const Kernels* kernels_;
  GridShape grid_{};
  GridPlanes planes_{};
  std::size_t directions_ = 1;
  int iterations_ = 0;
  T damping_ = 0;
  PoolBuffer<T> matrices_, unary_, iterates_;
};

extern template class GridMeanFieldEngine<float>;
extern template class GridMeanFieldEngine<double>;

}  // namespace tapestry::detail
