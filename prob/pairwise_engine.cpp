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
  const std::size_t K = graph_.states;
  iterations_ = iterations;
  damping_ = damping;
  T* exponentials = exponentials_.reserve(blocks() * K * K * kernels_->lanes);
  T* range = range_.reserve(blocks());
  split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->prepare(graph_, potentials, index, begin, end, exponentials, range);
  });
  T widest = 0;
  for (std::size_t b = 0; b < blocks(); ++b) widest = std::max(widest, range[b]);
  constexpr T minus_infinity = -std::numeric_limits<T>::infinity();
  bool contradiction = false;
  for (std::size_t v = 0; v < graph_.variables && !contradiction; ++v)
    contradiction = std::all_of(unary + v * K, unary + (v + 1) * K, [](T x) { return x == minus_infinity; });
  infinite_ = contradiction || widest == -minus_infinity;
  in_probabilities_ = probabilities_ != nullptr && !contradiction && widest <= Probabilities::widest_range;
  if (in_probabilities_)
    forward_in_probabilities(unary, log_marginals, keep);
  else
    forward_in_logarithms(unary, potentials, index, log_marginals, keep);
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::forward_in_probabilities(const T* unary, T* log_marginals, bool keep) {
  const std::size_t K = graph_.states, elements = message_elements();
  const auto kept = static_cast<std::size_t>(keep ? iterations_ + 1 : 2);
  T* messages = messages_.reserve(elements * kept);
  T* cavities = cavities_.reserve(elements * kept);
  PoolBuffer<T> exponentials(graph_.variables * K);
  std::fill_n(messages, elements, T(1) / static_cast<T>(K));
  // Lanes behind the last factor have no variable that would write them.
  if (elements > 0)
    for (std::size_t n = 1; n <= kept; ++n)
      std::fill(cavities + n * elements - elements / blocks(), cavities + n * elements, T(1));
  const auto at = [&](T* p, int n) { return p + elements * static_cast<std::size_t>(keep ? n : n % 2); };
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    probabilities_->load_unary(graph_, unary, begin, end, exponentials.data());
  });
  for (int n = 0; n < iterations_; ++n) {
    split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
      probabilities_->cavities(graph_, exponentials.data(), at(messages, n), begin, end, at(cavities, n));
    });
    split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
      probabilities_->step(graph_, exponentials_.data(), damping_, at(messages, n), at(cavities, n), begin, end,
                           at(messages, n + 1));
    });
  }
  PoolBuffer<T> logarithms(elements);
  split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
    probabilities_->logarithms(graph_, at(messages, iterations_), begin, end, logarithms.data());
  });
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->gather(graph_, unary, logarithms.data(), begin, end, exponentials.data(), nullptr);
    kernels_->normalise(graph_, exponentials.data(), nullptr, begin, end, log_marginals);
  });
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::forward_in_logarithms(const T* unary, const T* potentials,
                                                               const std::int64_t* index, T* log_marginals, bool keep) {
  const std::size_t K = graph_.states, elements = message_elements();
  T* messages = messages_.reserve(elements * static_cast<std::size_t>(keep ? iterations_ + 1 : 2));
  split(blocks(), block_grain(),
        [&](std::size_t begin, std::size_t end) { kernels_->start(graph_, begin, end, messages); });
  PoolBuffer<T> beliefs(graph_.variables * K), counts(infinite_ ? graph_.variables * K : 0);
  const auto at = [&](int n) { return messages + elements * static_cast<std::size_t>(keep ? n : n % 2); };
  for (int n = 0; n <= iterations_; ++n) {
    split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
      kernels_->gather(graph_, unary, at(n), begin, end, beliefs.data(), counts.data());
    });
    if (n == iterations_) break;
    split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
      kernels_->step(graph_, potentials, index, exponentials_.data(), range_.data(), beliefs.data(), counts.data(),
                     damping_, at(n), begin, end, at(n + 1));
    });
  }
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->normalise(graph_, beliefs.data(), counts.data(), begin, end, log_marginals);
  });
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::backward(const T* unary, const T* potentials, const std::int64_t* index,
                                                  const T* log_marginals, const T* grad_log_marginals,
                                                  std::size_t potential_count, T* grad_unary,
                                                  T* grad_potentials) const {
  const std::size_t square = graph_.states * graph_.states, lanes = kernels_->lanes;
  PoolBuffer<T> grad_beliefs(graph_.variables * graph_.states), pairs(blocks() * square * lanes);
  std::fill_n(pairs.data(), pairs.size(), T(0));
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->normalise_backward(graph_, log_marginals, grad_log_marginals, begin, end, grad_beliefs.data(),
                                 grad_unary);
  });
  if (in_probabilities_)
    backward_in_probabilities(grad_beliefs.data(), grad_unary, pairs.data());
  else
    backward_in_logarithms(unary, potentials, index, grad_beliefs.data(), grad_unary, pairs.data());
  if (grad_potentials == nullptr) return;
  if (index != nullptr) std::fill_n(grad_potentials, potential_count * square, T(0));
  for (std::size_t f = 0; f < graph_.factors; ++f) {
    T* out = grad_potentials + (index == nullptr ? f : static_cast<std::size_t>(index[f])) * square;
    const T* from = pairs.data() + f / lanes * square * lanes + f % lanes;
    for (std::size_t n = 0; n < square; ++n) out[n] = index == nullptr ? from[n * lanes] : out[n] + from[n * lanes];
  }
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::backward_in_probabilities(T* grad_beliefs, T* grad_unary, T* pairs) const {
  const std::size_t elements = message_elements();
  PoolBuffer<T> grad_messages(elements), grad_cavities(elements), carry(damping_ != T(0) ? elements : 0);
  std::fill_n(grad_messages.data(), elements, T(0));
  std::fill_n(carry.data(), carry.size(), T(0));
  const auto at = [&](const PoolBuffer<T>& p, int n) { return p.data() + elements * static_cast<std::size_t>(n); };
  const auto spread = [&](const T* cavities) {
    split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
      probabilities_->spread(graph_, grad_beliefs, cavities, begin, end, grad_messages.data(), grad_unary);
    });
  };
  spread(nullptr);
  for (int n = iterations_; n-- > 0;) {
    split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
      probabilities_->step_backward(graph_, exponentials_.data(), damping_, at(messages_, n), at(messages_, n + 1),
                                    at(cavities_, n), grad_messages.data(), begin, end, grad_cavities.data(),
                                    carry.data(), pairs);
    });
    spread(grad_cavities.data());
  }
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::backward_in_logarithms(const T* unary, const T* potentials,
                                                                const std::int64_t* index, T* grad_beliefs,
                                                                T* grad_unary, T* pairs) const {
  const std::size_t elements = message_elements(), beliefs_size = graph_.variables * graph_.states;
  PoolBuffer<T> beliefs(beliefs_size), counts(infinite_ ? beliefs_size : 0);
  PoolBuffer<T> grad_cavity(elements), carry(damping_ != T(0) ? elements : 0);
  std::fill_n(grad_cavity.data(), elements, T(0));
  std::fill_n(carry.data(), carry.size(), T(0));
  const auto at = [&](int n) { return messages_.data() + elements * static_cast<std::size_t>(n); };
  for (int n = iterations_; n-- > 0;) {
    split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
      kernels_->gather(graph_, unary, at(n), begin, end, beliefs.data(), counts.data());
    });
    split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
      kernels_->step_backward(graph_, potentials, index, exponentials_.data(), range_.data(), beliefs.data(),
                              counts.data(), damping_, at(n), at(n + 1), grad_beliefs, begin, end, grad_cavity.data(),
                              carry.data(), pairs);
    });
    split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
      kernels_->scatter(graph_, grad_cavity.data(), begin, end, grad_beliefs, grad_unary);
    });
  }
}

template class PairwiseBeliefPropagationEngine<float>;
template class PairwiseBeliefPropagationEngine<double>;

}  // namespace tapestry::detail
