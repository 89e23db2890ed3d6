#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace tapestry {

/// Precision, recall and F1 of labelled spans (chunks, names), counted as the CoNLL shared tasks' script conlleval
/// does: from tags such as B-NP, I-NP, E-NP, O in any of the IOB1, IOB2, IOE1, IOE2 notations; a span counts when its
/// two ends and its type are right.
class SpanScorer {
 public:
  struct Counts {
    std::int64_t truths = 0;
    std::int64_t guesses = 0;
    std::int64_t hits = 0;
    /// Ratios from 0 to 1; without any case 0.
    double precision() const;
    double recall() const;
    double f1() const;
  };

  /// Adds one sentence, given by the tags of its tokens. @throws ShapeError if the lengths differ.
  void add(std::span<const std::string_view> truth, std::span<const std::string_view> guess);

  const Counts& total() const noexcept { return total_; }
  /// By type; the type of a tag without a hyphen is "".
  const std::map<std::string, Counts, std::less<>>& by_type() const noexcept { return by_type_; }
  std::int64_t tokens() const noexcept { return tokens_; }
  /// Share of tokens with the right tag.
  double accuracy() const;

 private:
  Counts& of(std::string_view type);

  Counts total_;
  std::map<std::string, Counts, std::less<>> by_type_;
  std::int64_t tokens_ = 0;
  std::int64_t right_tags_ = 0;
};

/// The table that conlleval prints.
std::ostream& operator<<(std::ostream& out, const SpanScorer& scorer);

}  // namespace tapestry
