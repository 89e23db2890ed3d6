#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include <tapestry/models/features/encoder.hpp>
#include <tapestry/models/training/lbfgs.hpp>
#include <tapestry/models/training/trainer.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

namespace tapestry {

/// Settings of ChainTagger::train().
struct ChainTraining {
  FeatureOptions features{};
  StructuredLoss loss{};  ///< not max_margin or perceptron: L-BFGS needs smooth ones; train_in_batches() takes any
  double c2 = 1;          ///< the objective is the loss + c2 |w|^2 (+ c1 |w|_1), as CRFsuite defines it
  double c1 = 0;          ///< above 0: OWL-QN
  LbfgsOptions lbfgs{};   ///< its l1 is c1
};

enum class BatchMethod { adam, sgd };

/// Settings of ChainTagger::train_in_batches().
struct ChainBatchTraining {
  FeatureOptions features{};
  StructuredLoss loss{};  ///< any, max_margin and perceptron among them
  double c2 = 1;          ///< as in ChainTraining; each sequence has its share of c2 |w|^2
  BatchMethod method = BatchMethod::adam;
  double rate = 0.02;       ///< falls to zero along half a cosine
  std::int64_t batch = 16;  ///< sequences, of similar length
  std::uint64_t seed = 1;   ///< of their order
  std::int64_t epochs = 10;
  /// To continue a run that was interrupted; empty: none. See TrainerOptions.
  std::filesystem::path checkpoint = {};
};

/// A sequence tagger: templates and dictionaries, indicator features, and their weights in a linear-chain CRF.
class ChainTagger {
 public:
  using EpochObserver = std::function<bool(const EpochReport&)>;

  ChainTagger() = default;
  explicit ChainTagger(FeatureEncoder encoder) : encoder_(std::move(encoder)) {}

  /// Learns dictionaries, features and weights; with a state that has begun it goes on from there, given the same
  /// corpus and options. @throws what the encoder, IndicatorChain and minimize_lbfgs throw
  LbfgsResult train(const ColumnCorpus& corpus, const ChainTraining& options = {}, const LbfgsObserver& observer = {},
                    LbfgsState* state = nullptr);
  LbfgsResult train(const ItemCorpus& corpus, const ChainTraining& options = {}, const LbfgsObserver& observer = {},
                    LbfgsState* state = nullptr);
  /// From data that this tagger's encoder has learned.
  LbfgsResult train(const SparseSequences& data, const ChainTraining& options = {}, const LbfgsObserver& observer = {},
                    LbfgsState* state = nullptr);

  /// By steps along the gradient of a batch's mean loss, not of all the data's. The observer is called after each
  /// epoch, and returns false to interrupt the run, which can then go on from its checkpoint. The reports' loss is a
  /// mean over sequences. @throws what the encoder, IndicatorChain and Trainer throw
  TrainingResult train_in_batches(const ColumnCorpus& corpus, const ChainBatchTraining& options = {},
                                  const EpochObserver& observer = {});
  TrainingResult train_in_batches(const ItemCorpus& corpus, const ChainBatchTraining& options = {},
                                  const EpochObserver& observer = {});
  /// From data that this tagger's encoder has learned.
  TrainingResult train_in_batches(const SparseSequences& data, const ChainBatchTraining& options = {},
                                  const EpochObserver& observer = {});

  /// The best labels of each item.
  std::vector<std::int32_t> tag(const SparseSequences& data) const;
  std::string_view label(std::int32_t number) const { return encoder_.labels[number]; }

  const FeatureEncoder& encoder() const noexcept { return encoder_; }
  const IndicatorFeatures& features() const noexcept { return features_; }
  const std::vector<double>& weights() const noexcept { return weights_; }

  /// Writes all of it, or nothing. @throws IoError
  void save(const std::filesystem::path& path) const;
  /// @throws IoError for a file that is no tagger, of another version, damaged or truncated
  static ChainTagger load(const std::filesystem::path& path);

 private:
  /// Where training fails, the encoder forgets what it learned for it.
  template <class Corpus, class Train>
  auto learn_and(const Corpus& corpus, Train train) {
    FeatureEncoder before = encoder_;
    try {
      return train(encoder_.learn(corpus));
    } catch (...) {
      encoder_ = std::move(before);
      throw;
    }
  }

  FeatureEncoder encoder_;
  IndicatorFeatures features_;
  std::vector<double> weights_;
};

}  // namespace tapestry
