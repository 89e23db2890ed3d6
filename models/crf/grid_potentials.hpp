#pragma once

#include <tapestry/autodiff/variable.hpp>
#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/grid.hpp>

namespace tapestry {

/// Log-potentials of a batch of 4-neighbour grids.
template <class T>
struct GridPotentials {
  Var<T> unary;  ///< [batch, height, width, states]
  /// From a pixel's state (row) to that of its right neighbour (column): [states, states] for all, or
  /// [batch, height, width - 1, states, states] by edge.
  Var<T> horizontal;
  /// To the lower neighbour: [states, states], or [batch, height - 1, width, states, states].
  Var<T> vertical;
};

enum class GridMethod {
  mean_field,
  belief_propagation,
  /// Each edge as often in the trees as any other (Wainwright, Jaakkola, Willsky 2005). Slower than the others: it runs
  /// through infer().
  tree_reweighted
};

/// How marginals of grids are approximated: unrolled iterations, all pixels at once.
struct GridInference {
  GridMethod method = GridMethod::mean_field;
  int iterations = 10;
  double damping = 0;  ///< the share of the old state in each new one, below 1
};

// Labels are [batch, height, width]. All throw ShapeError where shapes do not fit, IndexError for states that do not
// exist.

/// Logarithms of approximate marginals, [batch, height, width, states]. Differentiable once, through all iterations.
template <class T>
Var<T> grid_log_marginals(const GridPotentials<T>& potentials, const GridInference& inference = {});

/// The sum of the log-potentials of an assignment: [batch].
template <class T>
Var<T> grid_score(const GridPotentials<T>& potentials, const Indices& labels);

/// The mean-field bound: at most the log-partition [batch], for any marginals q given by their logarithms.
template <class T>
Var<T> grid_mean_field_bound(const GridPotentials<T>& potentials, const Var<T>& log_q);

/// The same as a factor graph, for any other inference: one group of variables [height, width].
template <class T>
FactorGraph<T> grid_graph(const GridPotentials<T>& potentials);

template <class T>
struct GridExact {
  Var<T> log_partition;  ///< [batch]
  Var<T> marginals;      ///< [batch, height, width, states]
};
/// Exact inference by junction tree, for narrow grids: tables have about states^(1 + the smaller side) entries.
/// @throws NumericalError with the width and the memory needed where that is more than the limit (bytes)
template <class T>
GridExact<T> grid_exact(const GridPotentials<T>& potentials, double memory_limit = 4294967296.0);

/// The sum over pixels of log p(label | the neighbours' labels): [batch] (Besag 1975).
template <class T>
Var<T> grid_pseudo_log_likelihood(const GridPotentials<T>& potentials, const Indices& labels);

/// What training minimises, as a mean over pixels.
enum class GridLoss {
  univariate_log,        ///< -log of the approximate marginal of each label (Kakade, Teh and Roweis 2002; Domke 2013)
  univariate_quadratic,  ///< squared distance of the approximate marginals from the labels (Domke 2013)
  likelihood,            ///< exact negative log-likelihood, for narrow grids
  pseudo_likelihood
};
template <class T>
Var<T> grid_loss(const GridPotentials<T>& potentials, const Indices& labels, GridLoss loss,
                 const GridInference& inference = {});

}  // namespace tapestry
