#pragma once

#include <utility>

#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry {

struct DenseCrfOptions {
  std::int64_t iterations = 5;        ///< unrolled while training
  std::int64_t test_iterations = 10;  ///< in evaluation
  double position_deviation = 3;      ///< pixels, of the kernel of positions alone
  double far_deviation = 160;         ///< pixels, of the kernel of positions and colours
  double color_deviation = 0.1;       ///< in the images' units
  double coupling = 1;                ///< what a pair of equal states is worth at the start, times the kernels' weights
  double weight = 1;                  ///< of each kernel at the start
};

/// The learned pairwise part of a dense CRF: every two pixels of an image are joined, by a kernel of their positions
/// and one of positions and colours. Kernels are normalised, so that weights do not depend on the images' size.
template <class T>
struct DensePairwise {
  DensePairwise() = default;
  DensePairwise(std::int64_t states, const DenseCrfOptions& options);
  /// Logarithms of the mean-field marginals, [batch, height, width, states], from scores [batch, states, height, width]
  /// and images [batch, channels, height, width]. Images get no gradient. @throws ShapeError
  Var<T> log_marginals(const Var<T>& scores, const Var<T>& images) const;
  void members(Members& m) { m("weights", weights)("compatibility", compatibility)("mode", mode); }

  Var<T> weights;        ///< [2, states]: of the kernels, by the neighbour's state
  Var<T> compatibility;  ///< [states, states], positive where states attract
  DenseCrfOptions options;
  Mode mode;
};

/// A fully connected conditional random field as a recurrent network (Kraehenbuehl and Koltun 2011; Zheng et al. 2015):
/// mean-field iterations over all pairs of pixels, unrolled behind a network of your choice, trained end to end.
///
///     DenseCrf<float, Network> crf(Network(generator), states);
///     crf.loss(images, labels).backward();
///
/// The network is a module with forward(images), images [batch, channels, height, width] to scores [batch, states,
/// height, width].
template <class T, class Network>
class DenseCrf {
 public:
  DenseCrf(Network unary, std::int64_t states, const DenseCrfOptions& options = {})
      : network(std::move(unary)), pairwise(states, options) {}

  /// Logarithms of the approximate marginals, [batch, height, width, states].
  Var<T> log_marginals(const Var<T>& images) const { return pairwise.log_marginals(network.forward(images), images); }
  /// -log of the labels' approximate marginals, as a mean over pixels; labels [batch, height, width].
  Var<T> loss(const Var<T>& images, const Indices& labels) const {
    return negative_log_likelihood(log_marginals(images), labels);
  }
  void members(Members& m) { m("network", network)("pairwise", pairwise); }

  Network network;
  DensePairwise<T> pairwise;
};

extern template struct DensePairwise<float>;
extern template struct DensePairwise<double>;

}  // namespace tapestry
