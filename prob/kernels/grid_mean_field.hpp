#pragma once

#include <tapestry/prob/kernels/grid.hpp>

namespace tapestry::detail {

/// Parallel mean field on a grid: q = softmax(unary + sum over neighbours of compatibility q_neighbour), damped in the
/// probabilities. The compatibilities are [directions, states, states], row: own state, column: the neighbour's;
/// directions 1: all neighbours alike; 2: horizontal, vertical; 4: the neighbour to the left, right, above, below.
/// Planes hold one q (planes.total elements); the rows above and below the grid are zero, the sides are cleared here.
/// All work is on rows [first, last), which may run in parallel within a step.
template <class T>
struct GridMeanFieldKernels {
  std::size_t lanes;  ///< of a vector: the innermost extent of grad_pairs
  GridPlanes (*planes)(const GridShape& grid);
  /// [states][directions * states] and its counterpart for the backward pass.
  void (*prepare)(const GridShape& grid, std::size_t directions, const T* compatibility, T* forward, T* backward);
  /// Unary potentials to planes, and q = softmax(unary); log_q, in the layout of the unary potentials, may be null.
  void (*start)(const GridShape& grid, std::size_t directions, const T* unary, T damping, std::size_t first,
                std::size_t last, T* unary_planes, T* q, T* log_q);
  /// ahead: planes whose rows first - 1 to last - 2 the next call writes (step) or reads (step_backward).
  /// scratch: directions * states * planes.plane elements.
  void (*step)(const GridShape& grid, std::size_t directions, const T* forward, const T* unary_planes, T damping,
               const T* q, std::size_t first, std::size_t last, const T* ahead, T* next, T* log_next, T* scratch);
  /// From the gradient of log q to that of q's logits (planes), which is written to grad_unary too. With damping the
  /// gradient of q goes to `carry` (planes); `before` is the q before it, null where q is not damped.
  void (*finish_backward)(const GridShape& grid, const T* grad_log_q, const T* q, const T* before, T damping,
                          std::size_t first, std::size_t last, T* grad_logits, T* carry, T* grad_unary);
  /// One iteration back: from the gradient of the logits of the q after this one to that of this q's logits. Adds to
  /// grad_unary (planes) and to grad_pairs[directions * states * states * lanes], whose lanes are to be summed.
  /// scratch: ((last - first) * directions + 1) * states * planes.plane elements.
  void (*step_backward)(const GridShape& grid, std::size_t directions, const T* backward, T damping, const T* q,
                        const T* before, const T* grad_next_logits, std::size_t first, std::size_t last, const T* ahead,
                        T* grad_logits, T* carry, T* grad_unary, T* grad_pairs, T* scratch);
  void (*store_unary)(const GridShape& grid, const T* planes, std::size_t first, std::size_t last, T* grad_unary);
};

}  // namespace tapestry::detail
