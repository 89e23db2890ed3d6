#pragma once

#include <utility>

#include <tapestry/graph/module.hpp>
#include <tapestry/models/crf/grid_potentials.hpp>

namespace tapestry {

struct GridCrfOptions {
  GridInference inference{};
  GridLoss loss = GridLoss::univariate_log;
  /// Where the unary network has the axis of states: first is what convolutions give.
  GridLayout layout = GridLayout::states_first;
  /// Pairwise potentials have a second part, worth exp(-beta |difference|^2) of an edge's two pixels; beta is one over
  /// twice the mean square difference in the image (Boykov and Jolly 2001).
  bool contrast = false;
  double coupling = 0;  ///< what neighbours of equal state are worth at the start
};

/// The learned pairwise potentials of a grid CRF.
template <class T>
struct GridPairwise {
  GridPairwise() = default;
  GridPairwise(std::int64_t states, const GridCrfOptions& options);
  /// With those of the unary network, which has seen the images [batch, channels, height, width].
  /// @throws ShapeError
  GridPotentials<T> potentials(const Var<T>& scores, const Var<T>& images) const;
  void members(Members& m) { m("horizontal", horizontal)("vertical", vertical)("contrast", contrast); }

  Var<T> horizontal, vertical;  ///< [states, states]
  Var<T> contrast;              ///< [2, states, states] for horizontal and vertical edges, or undefined
  GridLayout layout = GridLayout::states_first;
};

/// A conditional random field on 4-neighbour grids: unary potentials from a network of your choice, learned pairwise
/// potentials, trained end to end through its own inference.
///
///     GridCrf<float, Network> crf(Network(generator), states, {.inference = {GridMethod::belief_propagation, 10}});
///     crf.loss(images, labels).backward();
///
/// The network is a module with forward(images), images [batch, channels, height, width] to scores [batch, states,
/// height, width].
template <class T, class Network>
class GridCrf {
 public:
  GridCrf(Network unary, std::int64_t states, const GridCrfOptions& settings = {})
      : network(std::move(unary)), pairwise(states, settings), options(settings) {}

  GridPotentials<T> potentials(const Var<T>& images) const {
    return pairwise.potentials(network.forward(images), images);
  }
  /// The mean over pixels, as the options say. Labels are [batch, height, width].
  Var<T> loss(const Var<T>& images, const Indices& labels) const {
    return grid_loss(potentials(images), labels, options.loss, options.inference);
  }
  /// Logarithms of the approximate marginals, [batch, height, width, states].
  Var<T> log_marginals(const Var<T>& images) const { return grid_log_marginals(potentials(images), options.inference); }

  void members(Members& m) { m("network", network)("pairwise", pairwise); }

  Network network;
  GridPairwise<T> pairwise;
  GridCrfOptions options;
};

extern template struct GridPairwise<float>;
extern template struct GridPairwise<double>;

}  // namespace tapestry
