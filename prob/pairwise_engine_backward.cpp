#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/kernels/layout.hpp>
#include <tapestry/prob/pairwise_engine.hpp>
#include <tapestry/prob/split.hpp>

// The way back: from gradients of beliefs through the iterations to those of potentials.
namespace tapestry::detail {

template <class T>
PairwiseGradients<T> PairwiseBeliefPropagationEngine<T>::from_log_marginals(const T* log_marginals,
                                                                            const T* grad) const {
  PairwiseGradients<T> g;
  T* beliefs = g.beliefs.reserve(belief_elements());
  T* unary = g.unary.reserve(belief_elements());
  T* pairs = g.pairs.reserve(blocks() * graph_.states * graph_.states * kernels_->lanes);
  std::fill_n(pairs, g.pairs.size(), T(0));
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->normalise_backward(graph_, log_marginals, grad, begin, end, beliefs, unary);
  });
  return g;
}

template <class T>
PairwiseGradients<T> PairwiseBeliefPropagationEngine<T>::from_beliefs(const T* log_marginals,
                                                                      const T* factor_probabilities,
                                                                      T grad_log_partition, const T* grad_variables,
                                                                      const T* grad_factors) const {
  const std::size_t K = graph_.states;
  PairwiseGradients<T> g;
  T* beliefs = g.beliefs.reserve(belief_elements());
  T* unary = g.unary.reserve(belief_elements());
  T* pairs = g.pairs.reserve(blocks() * K * K * kernels_->lanes);
  std::fill_n(pairs, g.pairs.size(), T(0));
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    beliefs_->exp(log_marginals + begin * K, (end - begin) * K, unary + begin * K);
    for (std::size_t v = begin; v < end; ++v) {
      const T own_count = count(v);
      T mean = 0;
      for (std::size_t k = v * K; grad_variables != nullptr && k < (v + 1) * K; ++k)
        mean += unary[k] * grad_variables[k];
      for (std::size_t k = v * K; k < (v + 1) * K; ++k) {
        const T own = grad_variables == nullptr ? T(0) : grad_variables[k] - mean;
        beliefs[k] = unary[k] = unary[k] * (grad_log_partition * own_count + own);
      }
    }
  });
  if (factor_probabilities == nullptr) return g;
  T* cavities = g.cavities.reserve(message_elements());
  split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
    beliefs_->factors_backward(graph_, factor_probabilities, grad_log_partition, grad_factors, weights_.data(), begin,
                               end, cavities, pairs);
  });
  return g;
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::enter(PairwiseGradients<T>& g) const {
  const std::size_t elements = message_elements();
  const bool cavities_given = g.cavities.size() > 0;
  T* cavities = g.cavities.reserve(elements);
  T* carry = damping_ != T(0) ? g.carry.reserve(elements) : nullptr;
  std::fill_n(carry, g.carry.size(), T(0));
  if (in_probabilities_) {
    T* messages = g.messages.reserve(elements);
    // Lanes behind the last factor have no variable that would write them.
    if (elements > 0) std::fill(messages + elements - elements / blocks(), messages + elements, T(0));
    if (cavities_given)
      split(blocks(), block_grain(),
            [&](std::size_t begin, std::size_t end) { beliefs_->to_rows(graph_, begin, end, cavities); });
    PoolBuffer<T> own(cavities_given ? elements : 0);
    std::fill_n(own.data(), own.size(), T(0));
    split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
      probabilities_->spread(graph_, g.beliefs.data(), nullptr, begin, end, messages, g.unary.data());
      if (cavities_given)
        probabilities_->spread(graph_, g.beliefs.data(), cavities, begin, end, own.data(), g.unary.data());
    });
    for (std::size_t i = 0; i < own.size() && cavities_given && i < elements; ++i) messages[i] += own.data()[i];
    return;
  }
  if (!cavities_given) {
    std::fill_n(cavities, elements, T(0));
    return;
  }
  PoolBuffer<T> sums(belief_elements());
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->scatter(graph_, cavities, begin, end, sums.data(), g.unary.data());
  });
  for (std::size_t i = 0; i < belief_elements(); ++i) g.beliefs.data()[i] += sums.data()[i];
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::step_backward(const PairwiseInput<T>& in, const PairwiseMessages<T>& from,
                                                       const PairwiseMessages<T>& to, PairwiseGradients<T>& g,
                                                       bool further) const {
  if (in_probabilities_) {
    split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
      probabilities_->step_backward(graph_, exponentials_.data(), damping_, from.messages.data(), to.messages.data(),
                                    from.cavities.data(), g.messages.data(), begin, end, g.cavities.data(),
                                    g.carry.data(), g.pairs.data());
    });
    if (!further) return;
    split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
      probabilities_->spread(graph_, g.beliefs.data(), g.cavities.data(), begin, end, g.messages.data(),
                             g.unary.data());
    });
    return;
  }
  PoolBuffer<T> beliefs(belief_elements()), numbers;
  T* count = counts(numbers);
  gather(in, from.messages.data(), beliefs.data(), count);
  split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->step_backward(graph_, in.potentials, in.index, exponentials_.data(), range_.data(), beliefs.data(), count,
                            damping_, from.messages.data(), to.messages.data(), g.beliefs.data(), weights_.data(),
                            begin, end, g.cavities.data(), g.carry.data(), g.pairs.data());
  });
  if (!further) return;
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->scatter(graph_, g.cavities.data(), begin, end, g.beliefs.data(), g.unary.data());
  });
}

template <class T>
T PairwiseBeliefPropagationEngine<T>::remaining(const PairwiseGradients<T>& g) const {
  T most = 0;
  for (std::size_t i = 0; i < message_elements(); ++i) most = std::max(most, std::abs(g.cavities.data()[i]));
  for (std::size_t i = 0; g.carry.size() > 0 && i < message_elements(); ++i)
    most = std::max(most, std::abs(g.carry.data()[i]));
  return most;
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::collect_own(const PairwiseGradients<T>& g, std::size_t first,
                                                     std::size_t count, T* grad_potentials) const {
  const std::size_t square = graph_.states * graph_.states, lanes = kernels_->lanes;
  const auto transpose = kernels<LayoutKernels<T>>().transpose;
  split(count, block_grain() * lanes, [&](std::size_t begin, std::size_t end) {
    // The factors of one block at a time; at both ends there may be a part of one.
    for (std::size_t f = first + begin; f < first + end;) {
      const std::size_t lane = f % lanes, many = std::min(lanes - lane, first + end - f);
      transpose(g.pairs.data() + f / lanes * square * lanes + lane, square, many, lanes,
                grad_potentials + (f - first) * square, square);
      f += many;
    }
  });
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::collect(const PairwiseGradients<T>& g, const std::int64_t* index,
                                                 std::size_t potential_count, T* grad_potentials) const {
  if (index == nullptr) return collect_own(g, 0, graph_.factors, grad_potentials);
  const std::size_t square = graph_.states * graph_.states, lanes = kernels_->lanes;
  std::fill_n(grad_potentials, potential_count * square, T(0));
  for (std::size_t f = 0; f < graph_.factors; ++f) {
    T* out = grad_potentials + static_cast<std::size_t>(index[f]) * square;
    const T* from = g.pairs.data() + f / lanes * square * lanes + f % lanes;
    for (std::size_t n = 0; n < square; ++n) out[n] += from[n * lanes];
  }
}

#define TAPESTRY_INSTANTIATE(T)                                                                                        \
  template PairwiseGradients<T> PairwiseBeliefPropagationEngine<T>::from_log_marginals(const T*, const T*) const;      \
  template PairwiseGradients<T> PairwiseBeliefPropagationEngine<T>::from_beliefs(const T*, const T*, T, const T*,      \
                                                                                 const T*) const;                      \
  template void PairwiseBeliefPropagationEngine<T>::enter(PairwiseGradients<T>&) const;                                \
  template void PairwiseBeliefPropagationEngine<T>::step_backward(                                                     \
      const PairwiseInput<T>&, const PairwiseMessages<T>&, const PairwiseMessages<T>&, PairwiseGradients<T>&, bool)    \
      const;                                                                                                           \
  template T PairwiseBeliefPropagationEngine<T>::remaining(const PairwiseGradients<T>&) const;                         \
  template void PairwiseBeliefPropagationEngine<T>::collect_own(const PairwiseGradients<T>&, std::size_t, std::size_t, \
                                                                T*) const;                                             \
  template void PairwiseBeliefPropagationEngine<T>::collect(const PairwiseGradients<T>&, const std::int64_t*,          \
                                                            std::size_t, T*) const;
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
