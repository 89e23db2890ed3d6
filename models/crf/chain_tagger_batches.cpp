#include <algorithm>
#include <bit>
#include <memory>
#include <numeric>
#include <span>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/models/crf/chain_tagger.hpp>
#include <tapestry/models/crf/indicator_chain.hpp>
#include <tapestry/models/training/optimizers/adam.hpp>
#include <tapestry/models/training/optimizers/sgd.hpp>

namespace tapestry {
namespace {

/// Some of the sequences, laid out for the features.
struct Part {
  IndicatorChain<double> crf;
  std::int64_t sequences;
  std::int64_t size() const { return sequences; }
};

struct Weights {
  Var<double> weights;
  void members(Members& m) { m("weights", weights); }
};

std::unique_ptr<Optimizer<double>> optimizer_of(const Weights& module, const ChainBatchTraining& options) {
  const ParameterGroups<double> parameters({module.weights});
  if (options.method == BatchMethod::sgd) return std::make_unique<Sgd<double>>(parameters, SgdOptions{options.rate});
  return std::make_unique<Adam<double>>(parameters, AdamOptions{options.rate});
}

/// Batches of sequences of similar length, others in each epoch. A checkpoint fits runs of the same settings only.
Dataset<Part> batches_of(const SparseSequences& data, std::shared_ptr<const IndicatorFeatures> features,
                         const ChainBatchTraining& options) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(data.sequences())), lengths;
  std::iota(numbers.begin(), numbers.end(), 0);
  for (std::size_t s = 0; s + 1 < data.offsets.size(); ++s) lengths.push_back(data.offsets[s + 1] - data.offsets[s]);
  const auto groups =
      Dataset<std::int64_t>(std::move(numbers)).batch_by_length(std::move(lengths), options.batch, options.seed);
  const std::uint64_t signature =
      detail::mix_signature({groups.signature(), static_cast<std::uint64_t>(options.loss.kind),
                             std::bit_cast<std::uint64_t>(options.loss.cost), std::bit_cast<std::uint64_t>(options.c2),
                             std::bit_cast<std::uint64_t>(options.rate), static_cast<std::uint64_t>(options.epochs),
                             static_cast<std::uint64_t>(data.items())});
  return Dataset<Part>::make(
      groups.size(), signature, [groups, &data, features = std::move(features)](std::int64_t i, std::int64_t epoch) {
        const std::vector<std::int64_t> members = groups.at(i, epoch);
        return Part{IndicatorChain<double>(select(data, members), features), std::ssize(members)};
      });
}

}  // namespace

TrainingResult ChainTagger::train_in_batches(const ColumnCorpus& corpus, const ChainBatchTraining& options,
                                             const EpochObserver& observer) {
  return learn_and(corpus, [&](const SparseSequences& data) { return train_in_batches(data, options, observer); });
}

TrainingResult ChainTagger::train_in_batches(const ItemCorpus& corpus, const ChainBatchTraining& options,
                                             const EpochObserver& observer) {
  return learn_and(corpus, [&](const SparseSequences& data) { return train_in_batches(data, options, observer); });
}

TrainingResult ChainTagger::train_in_batches(const SparseSequences& data, const ChainBatchTraining& options,
                                             const EpochObserver& observer) {
  if (!(options.c2 >= 0)) fail("ChainTagger::train_in_batches", "c2 is ", options.c2);
  const auto features = std::make_shared<const IndicatorFeatures>(
      make_features(data, encoder_.attributes.size(), encoder_.labels.size(), options.features));
  Weights module{Var<double>::filled({features->size()}, 0, true)};
  const auto optimizer = optimizer_of(module, options);
  Loader<Part> loader(batches_of(data, features, options));
  Trainer<double> trainer(
      module, *optimizer,
      {.epochs = options.epochs,
       .schedule = schedules::cosine(std::max<std::int64_t>(1, options.epochs * loader.data().size())),
       .checkpoint = options.checkpoint});
  if (observer)
    trainer.after_epoch([&](const EpochReport& report) {
      if (!observer(report)) trainer.interrupt("the observer said so");
    });
  const double share = options.c2 / static_cast<double>(std::max<std::int64_t>(1, data.sequences()));
  TrainingResult result = trainer.run(loader, [&](const Part& part) {
    const Var<double>& w = module.weights;
    return part.crf.loss(w, options.loss) / static_cast<double>(part.size()) + share * sum(w * w);
  });
  features_ = *features;
  weights_.assign(module.weights.data(), module.weights.data() + module.weights.size());
  return result;
}

}  // namespace tapestry
