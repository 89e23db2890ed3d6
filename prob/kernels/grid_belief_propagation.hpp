#pragma once

#include <tapestry/prob/kernels/grid.hpp>

namespace tapestry::detail {

/// Flooding sum-product on a grid in probabilities. Messages of one iteration are 4 * planes.total elements: to the
/// right, to the left, down, up, each where it arrives and normalised. A new message is (1 - damping) times the
/// update plus damping times the old one. Correct where the pairwise log-potentials are finite and span no more than
/// `widest_range`; unary ones may be anything. All work is on rows [first, last), which may run in parallel within a
/// step; beyond `most_states` states there is no kernel.
template <class T>
struct GridBeliefPropagationKernels {
  static constexpr std::size_t most_states = 64;
  static constexpr T widest_range = sizeof(T) == 4 ? T(12) : T(130);

  std::size_t lanes;  ///< of a vector
  GridPlanes (*planes)(const GridShape& grid);
  /// potentials[4][states * states]: exponentials of the log-potentials horizontal (left pixel's state is the row) and
  /// vertical (upper pixel's) in sender x receiver order of the four directions.
  void (*prepare)(const GridShape& grid, const T* horizontal, const T* vertical, T* potentials);
  /// exponentials[planes.total] of the unary potentials less the largest of each pixel.
  void (*load_unary)(const GridShape& grid, const T* unary, std::size_t first, std::size_t last, T* exponentials);
  /// Uniform messages.
  void (*start)(const GridShape& grid, std::size_t first, std::size_t last, T* messages);
  void (*step)(const GridShape& grid, const T* potentials, const T* unary, T damping, const T* messages,
               std::size_t first, std::size_t last, T* next);
  /// Logarithms of the normalised beliefs, in the layout of the unary potentials (which are given as they are).
  void (*beliefs)(const GridShape& grid, const T* unary, const T* messages, std::size_t first, std::size_t last,
                  T* log_marginals);
  /// Gradients of the messages (planes as theirs, margins zero) and of the unary potentials (planes, overwritten) from
  /// those of the log-marginals.
  void (*beliefs_backward)(const GridShape& grid, const T* unary, const T* messages, const T* grad_log_marginals,
                           std::size_t first, std::size_t last, T* grad_messages, T* grad_unary);
  /// From the gradients of `next` to those of `messages`; adds to grad_unary and to grad_potentials (four matrices as
  /// in prepare, gradient of the exponentials, each element `lanes` parts of the sum). scratch: 4 * states *
  /// planes.plane.
  void (*step_backward)(const GridShape& grid, const T* potentials, const T* unary, T damping, const T* messages,
                        const T* grad_next, std::size_t first, std::size_t last, T* grad_messages, T* grad_unary,
                        T* grad_potentials, T* scratch);
  void (*store_unary)(const GridShape& grid, const T* planes, std::size_t first, std::size_t last, T* grad_unary);
};

}  // namespace tapestry::detail
