#pragma once

#include <optional>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Log-potentials of a batch of linear chains (linear-chain CRFs, HMMs). -inf makes a state or transition impossible.
template <class T>
struct ChainPotentials {
  Var<T> unary;  ///< [B, T, K]
  /// From the state of a step (row) to that of the next (column): [K, K] for all, [T - 1, K, K] by step, or
  /// [B, T - 1, K, K] by sequence and step.
  Var<T> transitions;
  std::optional<Indices> lengths{};  ///< [B]; what is behind a length is never read. Default: all are T long
  Var<T> start{};                    ///< [K], added to the first step of every sequence; optional
  Var<T> end{};                      ///< [K], added to the last; optional
};

/// The log-partition [B]; 0 for an empty sequence, -inf where all assignments are impossible (the gradient is zero
/// there). Differentiable twice: the gradient is chain_marginals. Forward and backward recursion in scaled
/// probabilities (Rabiner 1989), in the log domain where those would lose something.
/// @throws ShapeError, IndexError for a length outside [0, T]
template <class T>
Var<T> chain_log_partition(const ChainPotentials<T>& potentials);

/// Marginals in the layout of the potentials. With transitions shared by several steps or sequences, `transitions` is
/// the sum over them: the expected number of each transition.
template <class T>
struct ChainMarginals {
  Var<T> unary;        ///< [B, T, K], zero behind the length
  Var<T> transitions;  ///< as ChainPotentials::transitions
};
/// Differentiable once.
template <class T>
ChainMarginals<T> chain_marginals(const ChainPotentials<T>& potentials);

/// The entropy of the chains' distributions [B], in nats; 0 where all assignments are impossible. Differentiable once.
template <class T>
Var<T> chain_entropy(const ChainPotentials<T>& potentials);

/// The score [B] (sum of log-potentials) of the assignments labels [B, T]; labels behind the length are never read.
/// chain_score - chain_log_partition is the log-probability. Differentiable any number of times.
/// @throws ShapeError, IndexError for a state that does not exist
template <class T>
Var<T> chain_score(const ChainPotentials<T>& potentials, const Indices& labels);

/// Best assignments: states are -1 behind the length and where all assignments are impossible.
template <class T>
struct ChainBest {
  IndexTensor states;  ///< [B, T], or [B, k, T] for the k best
  Tensor<T> score;     ///< [B], or [B, k] in falling order; -inf where there is none
};
/// Viterbi decoding; of equally good assignments the one with the lowest states, compared from the end.
template <class T>
ChainBest<T> chain_viterbi(const ChainPotentials<T>& potentials);
/// The k best assignments.
template <class T>
ChainBest<T> chain_k_best(const ChainPotentials<T>& potentials, int k);

/// Exact samples [count, B, T] by forward filtering and backward sampling, from uniforms [count, B, T] in [0, 1).
template <class T>
IndexTensor chain_sample(const ChainPotentials<T>& potentials, const Tensor<T>& uniforms);

}  // namespace tapestry
