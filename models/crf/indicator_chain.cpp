#include <tapestry/models/crf/indicator_chain.hpp>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/models/crf/indicator_plan.hpp>

namespace tapestry {

template <class T>
IndicatorChain<T>::IndicatorChain(const SparseSequences& data, const IndicatorFeatures& features)
    : IndicatorChain(data, std::make_shared<const IndicatorFeatures>(features)) {}

template <class T>
IndicatorChain<T>::IndicatorChain(const SparseSequences& data, std::shared_ptr<const IndicatorFeatures> features)
    : plan_(std::make_shared<const detail::IndicatorPlan<T>>(data, std::move(features))) {}

template <class T>
std::int64_t IndicatorChain<T>::features() const noexcept {
  return plan_->features.size();
}
template <class T>
std::int64_t IndicatorChain<T>::labels() const noexcept {
  return plan_->features.labels;
}
template <class T>
std::int64_t IndicatorChain<T>::items() const noexcept {
  return plan_->offsets.back();
}

template <class T>
std::vector<ChainPotentials<T>> IndicatorChain<T>::potentials(const Var<T>& weights) const {
  const Var<T> inputs[] = {weights};
  const auto scores = apply_all<T>(std::make_unique<detail::IndicatorScores<T>>(plan_), inputs);
  std::vector<ChainPotentials<T>> result;
  for (std::size_t b = 0; b < plan_->batches.size(); ++b)
    result.push_back({.unary = scores[b], .transitions = scores.back(), .lengths = plan_->batches[b].lengths});
  return result;
}

template <class T>
const std::vector<std::int64_t>& IndicatorChain<T>::members(std::size_t batch) const {
  return plan_->batches.at(batch).members;
}

template <class T>
const Tensor<T>& IndicatorChain<T>::observed() const {
  return plan_->observed();
}

template <class T>
Var<T> IndicatorChain<T>::log_likelihood(const Var<T>& weights) const {
  Var<T> result = sum(weights * Var<T>(observed()));
  for (const auto& chains : potentials(weights)) result -= sum(chain_log_partition(chains));
  return result;
}

template <class T>
Var<T> IndicatorChain<T>::loss(const Var<T>& weights, const StructuredLoss& loss) const {
  plan_->check_labels();
  Var<T> result(T(0));
  const auto chains = potentials(weights);
  for (std::size_t b = 0; b < chains.size(); ++b)
    result += sum(structured_loss(chains[b], plan_->batches[b].truths, loss));
  return result;
}

template <class T>
std::vector<std::int32_t> IndicatorChain<T>::decode(const Var<T>& weights) const {
  const NoGradients off;
  std::vector<std::int32_t> labels(static_cast<std::size_t>(items()));
  const auto chains = potentials(weights);
  for (std::size_t b = 0; b < chains.size(); ++b) {
    const auto best = chain_viterbi(chains[b]);
    const auto& batch = plan_->batches[b];
    for (std::size_t s = 0; s < batch.members.size(); ++s) {
      const std::int64_t first = plan_->offsets[static_cast<std::size_t>(batch.members[s])];
      const std::int64_t* const states = best.states.data() + static_cast<std::int64_t>(s) * batch.steps;
      for (std::int64_t t = 0; t < batch.lengths[static_cast<std::int64_t>(s)]; ++t)
        labels[static_cast<std::size_t>(first + t)] = static_cast<std::int32_t>(states[t]);
    }
  }
  return labels;
}

template class IndicatorChain<float>;
template class IndicatorChain<double>;

}  // namespace tapestry
