#include <tapestry/models/crf/indicator_plan.hpp>

#include <algorithm>
#include <numeric>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/storage.hpp>

namespace tapestry::detail {
namespace {

/// Numbers of the sequences, longest first.
std::vector<std::int64_t> by_length(const SparseSequences& data) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(data.sequences()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto length = [&](std::int64_t s) {
    return data.offsets[static_cast<std::size_t>(s) + 1] - data.offsets[static_cast<std::size_t>(s)];
  };
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return length(a) > length(b); });
  return order;
}

/// A batch ends where less than this share of its steps would be used by the next sequence.
constexpr double fullness = 0.9;

template <class T>
Tensor<T> zeros(const Shape& shape) {
  Tensor<T> out = empty_tensor<T>(shape);
  std::fill_n(out.data(), out.size(), T(0));
  return out;
}

template <class T>
using Blocks = std::vector<typename SparseEmission<T>::template Block<T*>>;
template <class T>
using ConstBlocks = std::vector<typename SparseEmission<T>::template Block<const T*>>;

/// gradient = the transpose applied to arrays, of which null ones are zero.
template <class T>
void count(const IndicatorPlan<T>& plan, const std::vector<const T*>& arrays, T* gradient) {
  ConstBlocks<T> blocks;
  for (std::size_t b = 0; b < plan.batches.size(); ++b)
    if (arrays[b]) blocks.push_back({plan.batches[b].first_item, plan.batches[b].last_item, arrays[b]});
  plan.emission.gradient(blocks, gradient, plan.rows.data());
  const T* const transitions = arrays.back();
  for (std::size_t k = 0; k < plan.features.sources.size(); ++k)
    gradient[plan.features.states() + static_cast<std::int64_t>(k)] =
        transitions ? transitions[plan.features.sources[k] * plan.features.labels + plan.features.targets[k]] : T(0);
}

}  // namespace

template <class T>
IndicatorPlan<T>::IndicatorPlan(const SparseSequences& source, std::shared_ptr<const IndicatorFeatures> given)
    : offsets(source.offsets),
      shared_features(std::move(given)),
      features(*shared_features),
      emission(select(source, by_length(source)), features) {
  const std::vector<std::int64_t> order = by_length(source);
  const auto length_of = [&](std::int64_t s) {
    return source.offsets[static_cast<std::size_t>(s) + 1] - source.offsets[static_cast<std::size_t>(s)];
  };
  rows.reserve(source.labels.size());
  std::int64_t item = 0;
  for (std::size_t at = 0; at < order.size();) {
    Batch batch;
    batch.labels = features.labels;
    batch.steps = length_of(order[at]);
    batch.first_item = item;
    const auto shortest = static_cast<std::int64_t>(fullness * static_cast<double>(batch.steps));
    for (; at < order.size() && length_of(order[at]) >= shortest; ++at) {
      const std::int64_t row = static_cast<std::int64_t>(batch.members.size()) * batch.steps,
                         length = length_of(order[at]);
      for (std::int64_t t = 0; t < length; ++t) rows.push_back(row + t);
      for (std::int64_t t = length; t < batch.steps; ++t) batch.padding.push_back(row + t);
      batch.members.push_back(order[at]);
      item += length;
    }
    batch.last_item = item;
    auto lengths = empty_tensor<std::int64_t>({static_cast<std::int64_t>(batch.members.size())});
    std::transform(batch.members.begin(), batch.members.end(), lengths.data(), length_of);
    batch.lengths = Indices(std::move(lengths));
    batches.push_back(std::move(batch));
  }

  for (const std::int32_t label : source.labels) unknown_labels += label < 0 || label >= features.labels;
  for (Batch& batch : batches) {
    IndexTensor labels = empty_tensor<std::int64_t>({static_cast<std::int64_t>(batch.members.size()), batch.steps});
    std::fill_n(labels.data(), labels.size(), 0);
    for (std::size_t s = 0; s < batch.members.size(); ++s) {
      const auto sequence = static_cast<std::size_t>(batch.members[s]);
      std::copy(source.labels.begin() + offsets[sequence], source.labels.begin() + offsets[sequence + 1],
                labels.data() + static_cast<std::int64_t>(s) * batch.steps);
    }
    batch.truths = Indices(std::move(labels));
  }
}

template <class T>
void IndicatorPlan<T>::check_labels() const {
  if (unknown_labels > 0)
    fail<IndexError>("IndicatorChain", unknown_labels, " items have a label that the features do not know");
}

template <class T>
const Tensor<T>& IndicatorPlan<T>::observed() const {
  check_labels();
  std::call_once(counted_, [this] {
    // The scores' transpose, applied to the labels' indicators.
    std::vector<Tensor<T>> indicators;
    Tensor<T> pairs = zeros<T>({features.labels, features.labels});
    for (const Batch& batch : batches) {
      Tensor<T> one_hot = zeros<T>(batch.shape());
      for (std::int64_t s = 0; s < batch.lengths.size(); ++s)
        for (std::int64_t t = 0; t < batch.lengths[s]; ++t) {
          const std::int64_t label = batch.truths[s * batch.steps + t];
          one_hot.data()[(s * batch.steps + t) * batch.labels + label] = T(1);
          if (t > 0) pairs.data()[batch.truths[s * batch.steps + t - 1] * batch.labels + label] += T(1);
        }
      indicators.push_back(std::move(one_hot));
    }
    indicators.push_back(std::move(pairs));
    std::vector<const T*> arrays;
    for (const Tensor<T>& indicator : indicators) arrays.push_back(indicator.data());
    observed_ = empty_tensor<T>({features.size()});
    count(*this, arrays, observed_.data());
  });
  return observed_;
}

template <class T>
Shape IndicatorPlan<T>::shape(int i) const {
  return i < static_cast<int>(batches.size()) ? batches[static_cast<std::size_t>(i)].shape()
                                              : Shape{features.labels, features.labels};
}

template <class T>
Shape IndicatorScores<T>::shape(const Shapes& inputs, int output) const {
  if (inputs[0] != Shape{plan_->features.size()})
    fail<ShapeError>("indicator_scores", "weights ", inputs[0], " for ", plan_->features.size(), " features");
  return plan_->shape(output);
}

template <class T>
void IndicatorScores<T>::forward(Forward<T>& context) {
  const IndicatorPlan<T>& plan = *plan_;
  const T* const weights = context.input(0).data;
  Blocks<T> blocks;
  for (std::size_t b = 0; b < plan.batches.size(); ++b) {
    const auto& batch = plan.batches[b];
    T* const out = context.output(static_cast<int>(b)).data;
    for (const std::int64_t row : batch.padding) std::fill_n(out + row * batch.labels, batch.labels, T(0));
    blocks.push_back({batch.first_item, batch.last_item, out});
  }
  plan.emission.scores(weights, blocks, plan.rows.data());
  const Array<T> transitions = context.output(plan.outputs() - 1);
  std::fill(transitions.begin(), transitions.end(), T(0));
  for (std::size_t k = 0; k < plan.features.sources.size(); ++k)
    transitions[plan.features.sources[k] * plan.features.labels + plan.features.targets[k]] =
        weights[plan.features.states() + static_cast<std::int64_t>(k)];
}

template <class T>
void IndicatorScores<T>::backward(Backward<T>& context) {
  std::vector<const T*> arrays;
  for (int i = 0; i < plan_->outputs(); ++i)
    arrays.push_back(context.has_gradient(i) ? context.gradient(i).data : nullptr);
  const Target<T> target = context.target(0);
  if (!target.accumulate) return count(*plan_, arrays, target.data);
  const auto n = static_cast<std::size_t>(target.size());
  const Scratch<T> counts(n);
  count(*plan_, arrays, counts.data());
  for (std::size_t f = 0; f < n; ++f) target.data[f] += counts[f];
}

template <class T>
void IndicatorScores<T>::vjp(Vjp<T>& context) {
  std::vector<Var<T>> gradients;
  for (int i = 0; i < plan_->outputs(); ++i) gradients.push_back(context.gradient(i));
  context.add(0, apply<T>(std::make_unique<IndicatorCounts<T>>(plan_), gradients));
}

template <class T>
Shape IndicatorCounts<T>::shape(const Shapes& inputs, int) const {
  for (int i = 0; i < inputs.size(); ++i)
    if (inputs[i] != plan_->shape(i))
      fail<ShapeError>("indicator_counts", "input ", i, " ", inputs[i], " where ", plan_->shape(i), " is expected");
  return {plan_->features.size()};
}

template <class T>
void IndicatorCounts<T>::forward(Forward<T>& context) {
  std::vector<const T*> arrays;
  for (int i = 0; i < context.inputs(); ++i) arrays.push_back(context.input(i).data);
  count(*plan_, arrays, context.output().data);
}

template <class T>
void IndicatorCounts<T>::vjp(Vjp<T>& context) {
  const Var<T> weights[] = {context.gradient()};
  const auto scores = apply_all<T>(std::make_unique<IndicatorScores<T>>(plan_), weights);
  for (int i = 0; i < context.inputs(); ++i)
    if (context.wants(i)) context.add(i, scores[static_cast<std::size_t>(i)]);
}

template class IndicatorPlan<float>;
template class IndicatorPlan<double>;
template class IndicatorScores<float>;
template class IndicatorScores<double>;
template class IndicatorCounts<float>;
template class IndicatorCounts<double>;

}  // namespace tapestry::detail
