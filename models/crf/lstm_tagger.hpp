#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include <tapestry/models/crf/chain_crf.hpp>
#include <tapestry/models/features/dictionary.hpp>
#include <tapestry/models/layers/embedding.hpp>
#include <tapestry/models/layers/linear.hpp>
#include <tapestry/models/layers/recurrent.hpp>
#include <tapestry/models/training/readers/columns.hpp>

namespace tapestry {

struct LstmTaggerOptions {
  std::int64_t word_dimension = 100;    ///< of the words' vectors
  std::int64_t feature_dimension = 25;  ///< of the vectors of each other feature
  std::int64_t hidden = 150;            ///< in each direction
  std::int64_t layers = 1;
  double dropout = 0.5;       ///< of what goes into the LSTM, between its layers, and out of it
  double unknown_rate = 0.5;  ///< while training, words that occur once are taken for unknown so often
};

/// A corpus as numbers, a list for each feature of a token; 0 is what training did not have.
struct TokenNumbers {
  std::vector<std::int64_t> offsets{0};             ///< first token of each sentence, and their number
  std::vector<std::vector<std::int32_t>> features;  ///< [features][tokens]
  std::vector<std::int32_t> labels;                 ///< Dictionary::unknown where training did not have it
  std::int64_t unknown_labels = 0;

  std::int64_t sentences() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
};

/// Sentences side by side.
struct TokenBatch {
  std::vector<Indices> features;  ///< [steps, sentences] each
  Indices labels;                 ///< [sentences, steps]; 0 where unknown
  Indices lengths;                ///< [sentences]
};

/// A vector for each feature of a token, side by side, through a bidirectional LSTM to scores of labels.
struct TokenNetwork {
  TokenNetwork() = default;
  /// `sizes`: how many values each feature has.
  TokenNetwork(const std::vector<std::int64_t>& sizes, std::int64_t labels, const LstmTaggerOptions& options,
               Generator& generator);
  /// [sentences, steps, labels]
  Var<float> forward(const TokenBatch& batch) const;
  void members(Members& m) { m("tables", tables)("dropout", dropout)("lstm", lstm)("output", output); }

  std::vector<Embedding<float>> tables;
  Dropout<float> dropout;
  Lstm<float> lstm;
  Linear<float> output;
};

/// A BiLSTM-CRF (Huang, Xu and Yu 2015): words in lower case, their first two, last two and last three letters, their
/// shape, and the corpus' other columns as features; the last column is the label. A module: train() it through
/// loss(), evaluate() it to tag.
class LstmTagger {
 public:
  LstmTagger() = default;
  /// Numbers what the corpus has. @throws ShapeError for a corpus of one column
  LstmTagger(const ColumnCorpus& corpus, const LstmTaggerOptions& options, Generator& generator);

  /// @throws ShapeError for another number of columns
  TokenNumbers encode(const ColumnCorpus& corpus) const;
  /// Some sentences of it. With a generator words that training has once become unknown now and then.
  TokenBatch batch(const TokenNumbers& data, std::span<const std::int64_t> sentences,
                   Generator* generator = nullptr) const;
  /// -log p of the labels, as a mean over tokens.
  Var<float> loss(const TokenBatch& batch) const { return crf.loss(batch, batch.labels, batch.lengths); }
  /// The best labels of each token.
  std::vector<std::int32_t> tag(const TokenNumbers& data) const;
  std::string_view label(std::int32_t number) const { return labels_[number]; }
  std::int32_t labels() const { return labels_.size(); }

  /// Writes all of it, or nothing. @throws IoError
  void save(const std::filesystem::path& path) const;
  /// @throws IoError for a file that is no such tagger or is damaged
  static LstmTagger load(const std::filesystem::path& path);

  void members(Members& m) { m("crf", crf); }

  ChainCrf<float, TokenNetwork> crf;

 private:
  void build(Generator& generator);

  LstmTaggerOptions options_;
  int columns_ = 0;
  std::vector<Dictionary> features_;
  Dictionary labels_;
  std::vector<bool> once_;  // by number of the word
};

}  // namespace tapestry
