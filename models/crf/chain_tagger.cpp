#include <tapestry/models/crf/chain_tagger.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/models/crf/indicator_chain.hpp>

namespace tapestry {
namespace {

Tensor<double> tensor_of(const std::vector<double>& values) {
  auto tensor = empty_tensor<double>({static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}

Var<double> loss_of(const IndicatorChain<double>& crf, const Var<double>& weights, const StructuredLoss& loss) {
  return loss.kind == LossKind::likelihood ? -crf.log_likelihood(weights) : crf.loss(weights, loss);
}

}  // namespace

LbfgsResult ChainTagger::train(const ColumnCorpus& corpus, const ChainTraining& options, const LbfgsObserver& observer,
                               LbfgsState* state) {
  return learn_and(corpus, [&](const SparseSequences& data) { return train(data, options, observer, state); });
}

LbfgsResult ChainTagger::train(const ItemCorpus& corpus, const ChainTraining& options, const LbfgsObserver& observer,
                               LbfgsState* state) {
  return learn_and(corpus, [&](const SparseSequences& data) { return train(data, options, observer, state); });
}

LbfgsResult ChainTagger::train(const SparseSequences& data, const ChainTraining& options, const LbfgsObserver& observer,
                               LbfgsState* state) {
  if (options.loss.kind == LossKind::max_margin || options.loss.kind == LossKind::perceptron)
    fail("ChainTagger::train", "L-BFGS needs a smooth loss, which margins are not");
  IndicatorFeatures features =
      make_features(data, encoder_.attributes.size(), encoder_.labels.size(), options.features);
  std::vector<double> found(static_cast<std::size_t>(features.size()), 0.);
  const IndicatorChain<double> crf(data, features);
  Var<double> weights = variable(tensor_of(found));
  const Objective objective = [&](std::span<const double> x, std::span<double> gradient) {
    std::copy(x.begin(), x.end(), weights.mutable_data());
    weights.zero_gradient();
    const Var<double> loss = options.c2 * sum(weights * weights) + loss_of(crf, weights, options.loss);
    loss.backward();
    const auto g = weights.gradient();
    std::copy(g.data(), g.data() + gradient.size(), gradient.begin());
    return loss.item();
  };
  LbfgsOptions lbfgs = options.lbfgs;
  lbfgs.l1 = options.c1;
  LbfgsResult result = minimize_lbfgs(found, objective, lbfgs, observer, state);
  features_ = std::move(features);
  weights_ = std::move(found);
  return result;
}

std::vector<std::int32_t> ChainTagger::tag(const SparseSequences& data) const {
  return IndicatorChain<double>(data, features_).decode(Var<double>(tensor_of(weights_)));
}

}  // namespace tapestry
