#include <tapestry/prob/pairwise_engine.hpp>

#include <algorithm>
#include <limits>

#include <tapestry/prob/split.hpp>

namespace tapestry::detail {
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
  PairwiseSchedule::Numbers<std::int64_t> at(offsets_.begin(), offsets_.end() - 1);
  for (std::size_t f = 0; f < factors; ++f) {
    const auto message = static_cast<std::int64_t>(2 * f);
    incident_[static_cast<std::size_t>(at[static_cast<std::size_t>(first_[f])]++)] = message + 1;
    incident_[static_cast<std::size_t>(at[static_cast<std::size_t>(second_[f])]++)] = message;
  }
}

PairwiseGraph PairwiseWiring::graph(std::size_t states) const {
  return {variables(), factors(), states, first_.data(), second_.data(), offsets_.data(), incident_.data()};
}

// Neighbouring blocks of one potential share what is computed from it.
template <class T>
void PairwiseBeliefPropagationEngine<T>::find_tables(const std::int64_t* index) {
  const std::size_t lanes = kernels_->lanes;
  tables_.clear();
  graph_.tables = nullptr;
  if (index == nullptr) return;
  tables_.resize(blocks());
  std::int64_t before = -1;  // the potential of the whole block before
  for (std::size_t b = 0; b < blocks(); ++b) {
    const std::int64_t *begin = index + b * lanes, *end = index + std::min((b + 1) * lanes, graph_.factors);
    const std::int64_t own = *begin;
    const bool one = std::all_of(begin, end, [own](std::int64_t i) { return i == own; });
    tables_[b] = one && own == before ? tables_[b - 1] : static_cast<std::int32_t>(b);
    before = one ? own : -1;
  }
  graph_.tables = tables_.data();
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::set_weights(const std::vector<double>& weights) {
  if (weights.empty()) return;
  probabilities_ = nullptr;
  T* padded = weights_.reserve(blocks() * kernels_->lanes);
  std::fill_n(padded, blocks() * kernels_->lanes, T(1));
  std::vector<double> counts(graph_.variables, 1.0);
  for (std::size_t f = 0; f < graph_.factors; ++f) {
    padded[f] = static_cast<T>(weights[f]);
    counts[static_cast<std::size_t>(graph_.first[f])] -= weights[f];
    counts[static_cast<std::size_t>(graph_.second[f])] -= weights[f];
  }
  counts_.assign(counts.begin(), counts.end());
}

template <class T>
T PairwiseBeliefPropagationEngine<T>::count(std::size_t v) const {
  return counts_.empty() ? T(1) - static_cast<T>(graph_.offsets[v + 1] - graph_.offsets[v]) : counts_[v];
}

template <class T>
const T* PairwiseBeliefPropagationEngine<T>::weighted(const T* log_messages, PoolBuffer<T>& scaled) const {
  if (weights_.size() == 0) return log_messages;
  T* out = scaled.reserve(message_elements());
  const std::size_t lanes = kernels_->lanes, rows = 2 * graph_.states;
  split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
    for (std::size_t b = begin; b < end; ++b) {
      const T* w = weights_.data() + b * lanes;
      for (std::size_t i = b * rows * lanes; i < (b + 1) * rows * lanes; i += lanes)
        for (std::size_t l = 0; l < lanes; ++l) out[i + l] = w[l] * log_messages[i + l];
    }
  });
  return out;
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::prepare(const PairwiseInput<T>& in, T damping) {
  const std::size_t K = graph_.states;
  damping_ = damping;
  find_tables(in.index);
  T* exponentials = exponentials_.reserve(blocks() * K * K * kernels_->lanes);
  T* range = range_.reserve(blocks());
  T* shift = shift_.reserve(blocks() * kernels_->lanes);
  split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->prepare(graph_, in.potentials, in.index, begin, end, exponentials, range, shift);
  });
  T widest = 0;
  for (std::size_t b = 0; b < blocks(); ++b)
    if (tables_.empty() || tables_[b] == static_cast<std::int32_t>(b)) widest = std::max(widest, range[b]);
  constexpr T minus_infinity = -std::numeric_limits<T>::infinity();
  bool contradiction = false;
  for (std::size_t v = 0; v < graph_.variables && !contradiction; ++v)
    contradiction = std::all_of(in.unary + v * K, in.unary + (v + 1) * K, [](T x) { return x == minus_infinity; });
  infinite_ = contradiction || widest == -minus_infinity;
  in_probabilities_ = probabilities_ != nullptr && !contradiction && widest <= Probabilities::widest_range;
  if (!in_probabilities_) return;
  T* unary = unary_.reserve(belief_elements());
  split(graph_.variables, variable_grain(),
        [&](std::size_t begin, std::size_t end) { probabilities_->load_unary(graph_, in.unary, begin, end, unary); });
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::start(PairwiseMessages<T>& at) const {
  T* messages = at.messages.reserve(message_elements());
  if (in_probabilities_)
    std::fill_n(messages, message_elements(), T(1) / static_cast<T>(graph_.states));
  else
    split(blocks(), block_grain(),
          [&](std::size_t begin, std::size_t end) { kernels_->start(graph_, begin, end, messages); });
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::find_cavities(const PairwiseInput<T>&, PairwiseMessages<T>& at) const {
  if (!in_probabilities_ || graph_.factors == 0) return;
  T* cavities = at.cavities.reserve(message_elements());
  // Lanes behind the last factor have no variable that would write them.
  std::fill(cavities + message_elements() - message_elements() / blocks(), cavities + message_elements(), T(1));
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    probabilities_->cavities(graph_, unary_.data(), at.messages.data(), nullptr, begin, end, cavities);
  });
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::gather(const PairwiseInput<T>& in, const T* log_messages, T* beliefs,
                                                T* counts) const {
  PoolBuffer<T> scaled;
  const T* sent = weighted(log_messages, scaled);
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->gather(graph_, in.unary, sent, begin, end, beliefs, counts);
  });
}

template <class T>
T PairwiseBeliefPropagationEngine<T>::step(const PairwiseInput<T>& in, PairwiseMessages<T>& from,
                                           PairwiseMessages<T>& to, bool measured, bool spend) const {
  const std::size_t grain = std::max<std::size_t>(1, block_grain());
  if (in_probabilities_) {
    find_cavities(in, from);
    const bool in_place = spend && damping_ == T(0);
    if (in_place) std::swap(from.messages, to.messages);
    const T* old = in_place ? to.messages.data() : from.messages.data();
    T* next = to.messages.reserve(message_elements());
    std::vector<T> most(blocks() / grain + 1, T(0));
    split(blocks(), grain, [&](std::size_t begin, std::size_t end) {
      most[begin / grain] = probabilities_->step(graph_, exponentials_.data(), damping_, old, from.cavities.data(),
                                                 nullptr, nullptr, begin, end, measured, next);
    });
    return *std::max_element(most.begin(), most.end());
  }
  const T* old = from.messages.data();
  T* next = to.messages.reserve(message_elements());
  PoolBuffer<T> beliefs(belief_elements()), numbers;
  T* count = counts(numbers);
  gather(in, old, beliefs.data(), count);
  split(blocks(), grain, [&](std::size_t begin, std::size_t end) {
    kernels_->step(graph_, in.potentials, in.index, exponentials_.data(), range_.data(), beliefs.data(), count,
                   damping_, old, begin, end, next);
  });
  return measured ? change(from, to) : T(0);
}

template <class T>
T PairwiseBeliefPropagationEngine<T>::renew(PairwiseMessages<T>& at) {
  if (graph_.factors == 0) return 0;
  if (schedule_ == nullptr) schedule_ = std::make_unique<const PairwiseSchedule>(graph_, kernels_->lanes);
  const PairwiseSchedule& plan = *schedule_;
  const std::size_t elements = plan.slot_count() * (message_elements() / blocks());
  // Lanes behind the last factor have no variable that would write them.
  if (slots_.size() < elements) std::fill_n(slots_.reserve(elements), elements, T(1));
  T* messages = at.messages.data();
  const auto step = [&](std::size_t begin, std::size_t end) {
    return probabilities_->step(graph_, exponentials_.data(), damping_, messages, slots_.data(), plan.blocks().data(),
                                plan.slots().data(), begin, end, true, messages);
  };
  const std::size_t grain = std::max<std::size_t>(1, block_grain()), rest = plan.first_block(plan.tiles());
  const std::size_t left = blocks() - rest;
  std::vector<T> most(plan.chunks() + left / grain + 1, T(0));
  split(plan.chunks(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t chunk = begin; chunk < end; ++chunk)
      for (std::size_t tile = plan.first_tile(chunk); tile < plan.first_tile(chunk + 1); ++tile) {
        probabilities_->cavities(graph_, unary_.data(), messages, plan.slots().data(), plan.first_variable(tile),
                                 plan.first_variable(tile + 1), slots_.data());
        most[chunk] = std::max(most[chunk], step(plan.first_block(tile), plan.first_block(tile + 1)));
      }
  });
  split(left, grain, [&](std::size_t begin, std::size_t end) {
    most[plan.chunks() + begin / grain] = step(rest + begin, rest + end);
  });
  return *std::max_element(most.begin(), most.end());
}

template <class T>
T PairwiseBeliefPropagationEngine<T>::change(const PairwiseMessages<T>& a, const PairwiseMessages<T>& b) const {
  const std::size_t grain = std::max<std::size_t>(1, block_grain());
  std::vector<T> most((blocks() + grain - 1) / grain + 1, T(0));
  split(blocks(), grain, [&](std::size_t begin, std::size_t end) {
    most[begin / grain] = beliefs_->change(graph_, in_probabilities_, a.messages.data(), b.messages.data(), begin, end);
  });
  return *std::max_element(most.begin(), most.end());
}

template <class T>
typename PairwiseBeliefPropagationEngine<T>::Sums PairwiseBeliefPropagationEngine<T>::sums(
    const PairwiseInput<T>& in, const PairwiseMessages<T>& at, T* log_marginals) const {
  Sums out;
  out.messages = at.messages.data();
  T* beliefs = out.beliefs.reserve(belief_elements());
  out.counts = counts(out.numbers);
  if (in_probabilities_) {
    T* logarithms = out.logarithms.reserve(message_elements());
    split(blocks(), block_grain(), [&](std::size_t begin, std::size_t end) {
      probabilities_->logarithms(graph_, at.messages.data(), begin, end, logarithms);
    });
    out.messages = logarithms;
  }
  PoolBuffer<T> scaled;
  const T* sent = weighted(out.messages, scaled);
  split(graph_.variables, variable_grain(), [&](std::size_t begin, std::size_t end) {
    kernels_->gather(graph_, in.unary, sent, begin, end, beliefs, out.counts);
    kernels_->normalise(graph_, beliefs, out.counts, begin, end, log_marginals);
  });
  return out;
}

template <class T>
void PairwiseBeliefPropagationEngine<T>::read(const PairwiseInput<T>& in, const PairwiseMessages<T>& at,
                                              T* log_marginals) const {
  sums(in, at, log_marginals);
}

template <class T>
double PairwiseBeliefPropagationEngine<T>::read(const PairwiseInput<T>& in, const PairwiseMessages<T>& at,
                                                T* log_marginals, const std::vector<FactorPart>& factors) const {
  const std::size_t K = graph_.states, lanes = kernels_->lanes;
  const Sums found = sums(in, at, log_marginals);
  const PoolBuffer<T>& beliefs = found.beliefs;
  PoolBuffer<T> normalisers(graph_.factors);
  const auto find = [&](std::size_t first, std::size_t last, std::size_t low, std::size_t high, T* probabilities) {
    split(last - first, block_grain(), [&](std::size_t begin, std::size_t end) {
      // Without counts a state of no possibility is -inf in the unary potential, and so in the cavity.
      beliefs_->factors(graph_, in.potentials, in.index, exponentials_.data(), range_.data(), shift_.data(),
                        beliefs.data(), found.counts, found.messages, first + begin, first + end, low, high,
                        probabilities, normalisers.data());
    });
  };
  std::size_t first = 0;
  for (const auto& [count, probabilities] : factors) {
    if (count > 0) find(first / lanes, (first + count + lanes - 1) / lanes, first, first + count, probabilities);
    first += count;
  }
  if (factors.empty()) find(0, blocks(), 0, 0, nullptr);
  // The dual form: sum_i (1 - sum_f w_f) log Z_i + sum_f w_f log Z_f.
  constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
  double part[4] = {};  // several sums, so that none waits for the one before
  for (std::size_t v = 0; v < graph_.variables; ++v) {
    const T* log_p = log_marginals + v * K;
    const std::size_t best = static_cast<std::size_t>(std::max_element(log_p, log_p + K) - log_p);
    if (static_cast<double>(log_p[best]) == minus_infinity) return minus_infinity;
    part[v % 4] += static_cast<double>(count(v)) * (static_cast<double>(beliefs.data()[v * K + best]) - log_p[best]);
  }
  for (std::size_t f = 0; f < graph_.factors; ++f)
    part[f % 4] += (weights_.size() == 0 ? 1.0 : static_cast<double>(weights_.data()[f])) *
                   static_cast<double>(normalisers.data()[f]);
  return (part[0] + part[1]) + (part[2] + part[3]);
}

template class PairwiseBeliefPropagationEngine<float>;
template class PairwiseBeliefPropagationEngine<double>;

template <class T>
void PairwiseRun<T>::forward(const PairwiseInput<T>& in, int iterations, T damping, T* log_marginals, bool keep) {
  engine_.prepare(in, damping);
  kept_.resize(static_cast<std::size_t>(keep ? iterations + 1 : 2));
  const auto at = [&](int n) -> PairwiseMessages<T>& { return kept_[static_cast<std::size_t>(keep ? n : n % 2)]; };
  engine_.start(at(0));
  const bool in_place = !keep && engine_.in_probabilities();
  for (int n = 0; n < iterations; ++n) {
    if (in_place)
      engine_.renew(at(0));
    else
      engine_.step(in, at(n), at(n + 1), false, keep);
  }
  engine_.read(in, at(in_place ? 0 : iterations), log_marginals);
}

template <class T>
void PairwiseRun<T>::backward(const PairwiseInput<T>& in, const T* log_marginals, const T* grad_log_marginals,
                              std::size_t potential_count, T* grad_unary, T* grad_potentials) const {
  auto g = engine_.from_log_marginals(log_marginals, grad_log_marginals);
  engine_.enter(g);
  for (std::size_t n = kept_.size() - 1; n-- > 0;) engine_.step_backward(in, kept_[n], kept_[n + 1], g);
  std::copy_n(g.unary.data(), engine_.variables() * engine_.states(), grad_unary);
  if (grad_potentials != nullptr) engine_.collect(g, in.index, potential_count, grad_potentials);
}

template class PairwiseRun<float>;
template class PairwiseRun<double>;

}  // namespace tapestry::detail
