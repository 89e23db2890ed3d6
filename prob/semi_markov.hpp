#pragma once

#include <optional>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Log-potentials of a batch of semi-Markov chains (Sarawagi and Cohen 2004): a sequence is cut into segments of at
/// most D steps, each in one state. Neighbouring segments may have the same state; forbid it by -inf on the
/// transitions' diagonal.
template <class T>
struct SemiMarkovPotentials {
  Var<T> segments;                   ///< [B, T, D, K]: of a segment that begins at step t, has d + 1 steps and state k
  Var<T> transitions;                ///< [K, K], from the state of a segment (row) to that of the next
  std::optional<Indices> lengths{};  ///< [B]; nothing behind a length is read. Default: all are T long
};

/// The log-partition [B]: 0 for an empty sequence, -inf where all segmentations are impossible (the gradient is zero
/// there). Its gradient are the expected numbers of segments and transitions. Differentiable any number of times; time
/// and memory of the first grow with T D K + T K^2. @throws ShapeError, IndexError for a length outside [0, T]
template <class T>
Var<T> semi_markov_log_partition(const SemiMarkovPotentials<T>& potentials);

template <class T>
struct SemiMarkovMarginals {
  Var<T> segments;     ///< [B, T, D, K]: of each segment, zero where one would pass the length
  Var<T> transitions;  ///< [K, K]: expected numbers, over all sequences
  Var<T> states;       ///< [B, T, K]: of the state at each step, zero behind the length
};
/// Differentiable any number of times. All zero where all segmentations are impossible.
template <class T>
SemiMarkovMarginals<T> semi_markov_marginals(const SemiMarkovPotentials<T>& potentials);

/// The entropy of the segmentations' distributions [B], in nats; 0 where all are impossible. Differentiable any number
/// of times.
template <class T>
Var<T> semi_markov_entropy(const SemiMarkovPotentials<T>& potentials);

/// A segmentation by step.
struct Segmentation {
  IndexTensor states;  ///< [B, T]; -1 behind the length and where all is impossible
  IndexTensor begins;  ///< [B, T]: 1 where a segment begins, else 0
};
/// The score [B] of segmentations. @throws ShapeError, IndexError for states that do not exist, change within a
/// segment, or segments longer than D
template <class T>
Var<T> semi_markov_score(const SemiMarkovPotentials<T>& potentials, const Segmentation& segmentation);

template <class T>
struct SemiMarkovBest {
  Segmentation segmentation;
  Tensor<T> score;  ///< [B]; -inf where there is none
};
/// The best segmentations (Viterbi).
template <class T>
SemiMarkovBest<T> semi_markov_viterbi(const SemiMarkovPotentials<T>& potentials);

/// Exact samples [count, B, T] by backward filtering and forward sampling, from uniforms [count, B, T] in [0, 1): a
/// segment takes the one of its first step. @throws ShapeError
template <class T>
Segmentation semi_markov_sample(const SemiMarkovPotentials<T>& potentials, const Tensor<T>& uniforms);

#define TAPESTRY_EXTERN(T)                                                                       \
  extern template Var<T> semi_markov_log_partition(const SemiMarkovPotentials<T>&);              \
  extern template Var<T> semi_markov_score(const SemiMarkovPotentials<T>&, const Segmentation&); \
  extern template SemiMarkovBest<T> semi_markov_viterbi(const SemiMarkovPotentials<T>&);         \
  extern template SemiMarkovMarginals<T> semi_markov_marginals(const SemiMarkovPotentials<T>&);  \
  extern template Var<T> semi_markov_entropy(const SemiMarkovPotentials<T>&);                    \
  extern template Segmentation semi_markov_sample(const SemiMarkovPotentials<T>&, const Tensor<T>&);
TAPESTRY_EXTERN(float)
TAPESTRY_EXTERN(double)
#undef TAPESTRY_EXTERN

}  // namespace tapestry
