#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <tapestry/models/features/dictionary.hpp>
#include <tapestry/models/features/template.hpp>
#include <tapestry/models/training/readers/columns.hpp>
#include <tapestry/models/training/readers/items.hpp>

namespace tapestry {

/// Items in sequences with sparse attributes, by number: compressed rows.
struct SparseSequences {
  std::vector<std::int64_t> offsets{0};  ///< first item of each sequence, and the number of items
  std::vector<std::int64_t> starts{0};   ///< first entry of each item in `attributes`, and their number
  std::vector<std::int32_t> attributes;  ///< numbers of the attributes
  std::vector<double> values;            ///< of each entry; empty when all are 1
  std::vector<std::int32_t> labels;      ///< of each item; Dictionary::unknown where never seen in training
  std::int64_t unknown_attributes = 0;   ///< entries left out, as their attribute was never seen in training
  std::int64_t unknown_labels = 0;       ///< items whose label was never seen in training

  std::int64_t sequences() const noexcept { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t items() const noexcept { return offsets.back(); }
};

/// The sequences of these numbers, in this order; nothing of them is unknown that was not. @throws IndexError
SparseSequences select(const SparseSequences& data, std::span<const std::int64_t> sequences);

/// Turns corpora into numbers: templates make attributes of columns, dictionaries number attributes and labels.
class FeatureEncoder {
 public:
  FeatureEncoder() = default;
  explicit FeatureEncoder(std::vector<FeatureTemplate> templates, Edge edge = Edge::none, bool mark_ends = true)
      : templates_(std::move(templates)), edge_(edge), mark_ends_(mark_ends) {}

  /// Encodes and adds what is new to the dictionaries. The label is the corpus' last column; `mark_ends` gives the
  /// first token the attribute __BOS__ and the last __EOS__. @throws ShapeError if a template names a column that is
  /// not there or is the label's.
  SparseSequences learn(const ColumnCorpus& corpus);
  /// Items bring their attributes along: templates are not applied.
  SparseSequences learn(const ItemCorpus& corpus);

  /// Encodes with fixed dictionaries; counts what they do not have.
  SparseSequences encode(const ColumnCorpus& corpus) const;
  SparseSequences encode(const ItemCorpus& corpus) const;

  Dictionary attributes;
  Dictionary labels;

  const std::vector<FeatureTemplate>& templates() const noexcept { return templates_; }
  Edge edge() const noexcept { return edge_; }
  bool mark_ends() const noexcept { return mark_ends_; }

 private:
  std::vector<FeatureTemplate> templates_;
  Edge edge_ = Edge::none;
  bool mark_ends_ = true;
};

/// Which (attribute, label) and (label, label) pairs have a weight.
struct FeatureOptions {
  double minimum_count = 0;             ///< pairs that occur less often (summed by value) have none
  bool unobserved_states = false;       ///< every label of every attribute
  bool unobserved_transitions = false;  ///< every pair of labels
};

/// Indicator features of a chain: weight f < states() belongs to an attribute and a label, the ones of an attribute are
/// neighbours; weight states() + k belongs to a pair of adjacent labels.
struct IndicatorFeatures {
  std::int32_t labels = 0;
  std::vector<std::int64_t> starts{0};     ///< first feature of each attribute, and states()
  std::vector<std::int32_t> state_labels;  ///< of each feature
  std::vector<std::int32_t> sources;       ///< of each transition feature: the label before
  std::vector<std::int32_t> targets;       ///< and the label after

  std::int64_t states() const noexcept { return static_cast<std::int64_t>(state_labels.size()); }
  std::int64_t transitions() const noexcept { return static_cast<std::int64_t>(sources.size()); }
  std::int64_t size() const noexcept { return states() + transitions(); }
};

/// The features of training data, as CRFsuite chooses them.
/// @throws IndexError if the data names an attribute or a label that is not below the counts, or no label.
IndicatorFeatures make_features(const SparseSequences& data, std::int32_t attributes, std::int32_t labels,
                                const FeatureOptions& options = {});

}  // namespace tapestry
