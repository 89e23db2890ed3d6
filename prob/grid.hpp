#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// How many parallel updates of message passing or mean field are unrolled; each result is
/// (1 - damping) * update + damping * previous, in probabilities.
struct UnrolledOptions {
  int iterations = 10;
  double damping = 0;
};

/// Where the axis of states is.
enum class GridLayout {
  states_last,   ///< [height, width, states], or [batch, height, width, states]
  states_first,  ///< [states, height, width], or [batch, states, height, width]: what convolutions give
};

/// Flooding sum-product on a 4-neighbour grid, unrolled: the logarithms of the beliefs, shaped as the unary
/// log-potentials. horizontal [states, states] goes from a pixel (row) to its right neighbour (column), vertical to the
/// lower one. Messages start uniform. Differentiable once, through all iterations. -inf makes a state impossible.
/// @throws ShapeError, Error for options out of range
template <class T>
Var<T> grid_belief_propagation(const Var<T>& unary, const Var<T>& horizontal, const Var<T>& vertical,
                               UnrolledOptions options = {}, GridLayout layout = GridLayout::states_last);

/// Parallel mean field on a 4-neighbour grid, unrolled: log q, shaped as the unary log-potentials, of
/// q = softmax(unary + sum over neighbours of compatibility q_neighbour), from q = softmax(unary). The compatibility is
/// [states, states] (row: own state, column: the neighbour's), or [2, states, states] for horizontal and vertical
/// neighbours, or [4, states, states] for those to the left, right, above, below; finite. Differentiable once.
/// @throws ShapeError, NumericalError for an infinite compatibility, Error for options out of range
template <class T>
Var<T> grid_mean_field(const Var<T>& unary, const Var<T>& compatibility, UnrolledOptions options = {},
                       GridLayout layout = GridLayout::states_last);

}  // namespace tapestry
