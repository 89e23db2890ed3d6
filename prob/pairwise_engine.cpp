#include <tapestry/prob/pairwise_engine.hpp>

#include <algorithm>
#include <limits>

#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

template <class F>
void split(std::size_t n, std::size_t grain, F&& f) {
  parallel_for(
      static_cast<std::int64_t>(n), static_cast<std::int64_t>(std::max<std::size_t>(1, grain)),
      [&](std::int64_t begin, std::int64_t end) { f(static_cast<std::size_t>(begin), static_cast<std::size_t>(end)); });
}

}  // namespace

PairwiseWiring::PairwiseWiring(std::size_t variables, std::size_t factors, const std::int64_t* first,
                               const std::int64_t* second)
    : first_(first, first + factors),
      second_(second, second + factors),
      offsets_(variables + 1),
      incident_(2 * factors) {
  for (std::size_t f = 0; f < factors; ++f) {
    ++offsets_[static_cast<std::size_t>(first_[f]) + 1];
    ++offsets_[static_cast<std::size_t>(second_[f]) + 1];
  }
  for (std::size_t v = 0; v < variables; ++v) offsets_[v + 1] += offsets_[v];
  std::vector<std::int64_t> at(offsets_.begin(), offsets_.end() - 1);
  for (std::size_t f = 0; f < factors; ++f) {
    const auto message = static_cast<std::int64_t>(2 * f);
    incident_[static_cast<std::size_t>(at[static_cast<std::size_t>(first_[f])]++)] = message + 1;
    incident_[static_cast<std::size_t>(at[static_cast<std::size_t>(second_[f])]++)] = message;
  }
}

PairwiseGraph PairwiseWiring::graph(std::size_t states) const {
  return {variables(), factors(), states, first_.data(), second_.data(), offsets_.data(), incident_.data()};
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::forward(const T* unary, const T* potentials, const std::int64_t* index,
                                                 int iterations, T damping, T* log_marginals, bool keep) {
  const std::size_t K = graph_.states, elements = message_elements();
  const std::size_t block_grain = 8192 / (kernels_->lanes * K * K), variable_grain = 4096 / K;
  iterations_ = iterations;
  damping_ = damping;
  T* exponentials = exponentials_.reserve(blocks() * K * K * kernels_->lanes);
  T* kind = kind_.reserve(blocks());
  T* messages = messages_.reserve(elements * static_cast<std::size_t>(keep ? iterations + 1 : 2));
  split(blocks(), block_grain, [&](std::size_t begin, std::size_t end) {
    kernels_->prepare(graph_, potentials, index, begin, end, exponentials, kind);
    kernels_->start(graph_, begin, end, messages);
  });
  // -inf has to be counted only where messages can be -inf.
  constexpr T minus_infinity = -std::numeric_limits<T>::infinity();
  infinite_ = std::any_of(kind, kind + blocks(), [](T x) { return x != T(0); });
  for (std::size_t v = 0; v < graph_.variables && !infinite_; ++v)
    infinite_ = std::all_of(unary + v * K, unary + (v + 1) * K, [](T x) { return x == minus_infinity; });
  PoolBuffer<T> beliefs(graph_.variables * K), counts(infinite_ ? graph_.variables * K : 0);
  const auto at = [&](int n) { return messages + elements * static_cast<std::size_t>(keep ? n : n % 2); };
  for (int n = 0; n <= iterations; ++n) {
    split(graph_.variables, variable_grain, [&](std::size_t begin, std::size_t end) {
      kernels_->gather(graph_, unary, at(n), begin, end, beliefs.data(), counts.data());
    });
    if (n == iterations) break;
    split(blocks(), block_grain, [&](std::size_t begin, std::size_t end) {
      kernels_->step(graph_, potentials, index, exponentials, kind, beliefs.data(), counts.data(), damping, at(n),
                     begin, end, at(n + 1));
    });
  }
  split(graph_.variables, variable_grain, [&](std::size_t begin, std::size_t end) {
    kernels_->normalise(graph_, beliefs.data(), counts.data(), begin, end, log_marginals);
  });
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::backward(const T* unary, const T* potentials, const std::int64_t* index,
                                                  const T* log_marginals, const T* grad_log_marginals,
                                                  std::size_t potential_count, T* grad_unary,
                                                  T* grad_potentials) const {
  const std::size_t K = graph_.states, square = K * K, elements = message_elements(), lanes = kernels_->lanes;
  const std::size_t block_grain = 8192 / (lanes * square), variable_grain = 4096 / K;
  const std::size_t beliefs_size = graph_.variables * K;
  PoolBuffer<T> beliefs(beliefs_size), counts(infinite_ ? beliefs_size : 0), grad_beliefs(beliefs_size);
  PoolBuffer<T> grad_cavity(elements), carry(damping_ != T(0) ? elements : 0), pairs(blocks() * square * lanes);
  std::fill_n(grad_cavity.data(), elements, T(0));
  std::fill_n(carry.data(), carry.size(), T(0));
  std::fill_n(pairs.data(), pairs.size(), T(0));
  const auto at = [&](int n) { return messages_.data() + elements * static_cast<std::size_t>(n); };
  split(graph_.variables, variable_grain, [&](std::size_t begin, std::size_t end) {
    kernels_->normalise_backward(graph_, log_marginals, grad_log_marginals, begin, end, grad_beliefs.data(),
                                 grad_unary);
  });
  for (int n = iterations_; n-- > 0;) {
    split(graph_.variables, variable_grain, [&](std::size_t begin, std::size_t end) {
      kernels_->gather(graph_, unary, at(n), begin, end, beliefs.data(), counts.data());
    });
    split(blocks(), block_grain, [&](std::size_t begin, std::size_t end) {
      kernels_->step_backward(graph_, potentials, index, exponentials_.data(), kind_.data(), beliefs.data(),
                              counts.data(), damping_, at(n), at(n + 1), grad_beliefs.data(), begin, end,
                              grad_cavity.data(), carry.data(), pairs.data());
    });
    split(graph_.variables, variable_grain, [&](std::size_t begin, std::size_t end) {
      kernels_->scatter(graph_, grad_cavity.data(), begin, end, grad_beliefs.data(), grad_unary);
    });
  }
  if (grad_potentials == nullptr) return;
  std::fill_n(grad_potentials, potential_count * square, T(0));
  for (std::size_t f = 0; f < graph_.factors; ++f) {
    T* out = grad_potentials + (index == nullptr ? f : static_cast<std::size_t>(index[f])) * square;
    const T* from = pairs.data() + f / lanes * square * lanes + f % lanes;
    for (std::size_t n = 0; n < square; ++n) out[n] += from[n * lanes];
  }
}

template class PairwiseBeliefPropagationEngine<float>;
template class PairwiseBeliefPropagationEngine<double>;

}  // namespace tapestry::detail
