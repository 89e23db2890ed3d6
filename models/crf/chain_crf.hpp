#pragma once

#include <utility>

#include <tapestry/graph/module.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

namespace tapestry {

/// The learned transitions of a chain CRF, all zero at the start.
template <class T>
struct ChainTransitions {
  ChainTransitions() = default;
  explicit ChainTransitions(std::int64_t states);
  /// With the scores [batch, steps, states] of a network.
  ChainPotentials<T> potentials(const Var<T>& scores, const std::optional<Indices>& lengths = std::nullopt) const {
    return {scores, transitions, lengths, start, end};
  }
  void members(Members& m) { m("transitions", transitions)("start", start)("end", end); }

  Var<T> transitions;  ///< [states, states], from a step's state (row) to that of the next
  Var<T> start, end;   ///< [states]
};

/// A loss of chains (by default -log p(labels)) as a mean over all items: labels [batch, steps].
template <class T>
Var<T> chain_loss(const ChainPotentials<T>& potentials, const Indices& labels, const StructuredLoss& loss = {});

/// A linear-chain CRF over the scores of a network of your choice, trained end to end through exact inference by any
/// loss.
///
///     ChainCrf<float, Network> crf(Network(generator), states);
///     crf.loss(x, labels, lengths).backward();
///     IndexTensor best = crf.decode(x, lengths);
///
/// The network is a module with forward(x), to scores [batch, steps, states]; x is whatever it takes.
template <class T, class Network>
class ChainCrf {
 public:
  ChainCrf() = default;
  ChainCrf(Network unary, std::int64_t states, const StructuredLoss& by = {})
      : network(std::move(unary)), chain(states), structured(by) {}

  template <class Input>
  ChainPotentials<T> potentials(const Input& x, const std::optional<Indices>& lengths = std::nullopt) const {
    return chain.potentials(network.forward(x), lengths);
  }
  /// The mean over items; labels [batch, steps].
  template <class Input>
  Var<T> loss(const Input& x, const Indices& labels, const std::optional<Indices>& lengths = std::nullopt) const {
    return chain_loss(potentials(x, lengths), labels, structured);
  }
  /// The most probable states [batch, steps], -1 behind a length.
  template <class Input>
  IndexTensor decode(const Input& x, const std::optional<Indices>& lengths = std::nullopt) const {
    return chain_viterbi(potentials(x, lengths)).states;
  }

  void members(Members& m) { m("network", network)("chain", chain); }

  Network network;
  ChainTransitions<T> chain;
  StructuredLoss structured{};
};

extern template struct ChainTransitions<float>;
extern template struct ChainTransitions<double>;

}  // namespace tapestry
