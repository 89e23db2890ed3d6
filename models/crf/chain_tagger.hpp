#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include <tapestry/models/features/encoder.hpp>
#include <tapestry/models/training/lbfgs.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

namespace tapestry {

/// Settings of ChainTagger::train().
struct ChainTraining {
  FeatureOptions features{};
  StructuredLoss loss{};  ///< not max_margin or perceptron: L-BFGS needs smooth ones
  double c2 = 1;          ///< the objective is the loss + c2 |w|^2 (+ c1 |w|_1), as CRFsuite defines it
  double c1 = 0;          ///< above 0: OWL-QN
  LbfgsOptions lbfgs{};   ///< its l1 is c1
};

/// A sequence tagger: templates and dictionaries, indicator features, and their weights in a linear-chain CRF.
class ChainTagger {
 public:
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
  FeatureEncoder encoder_;
  IndicatorFeatures features_;
  std::vector<double> weights_;
};

}  // namespace tapestry
