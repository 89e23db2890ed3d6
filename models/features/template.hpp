#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tapestry {

/// What a template that reaches over the sequence's edge gives.
enum class Edge {
  none,     ///< no attribute (CRFsuite's scripts)
  padding,  ///< the cells _B-1, _B-2, ... before the first token, _B+1, _B+2, ... after the last (CRF++)
};

/// Makes one attribute of a token from cells around it: "name=cell/cell/...".
struct FeatureTemplate {
  struct Cell {
    int offset;  ///< in tokens, from the current one
    int column;
  };
  std::string name;
  std::vector<Cell> cells;
};

/// A template in CRF++'s notation: `U05:%x[-1,0]/%x[0,0]`, row offset and column in brackets.
/// @throws Error that shows what is wrong with the text.
FeatureTemplate parse_template(std::string_view text);

/// A template file's text in CRF++'s notation: a template a line, # for comments. Lines starting with B (label
/// bigrams) are accepted and give nothing here: a chain model has its transitions anyhow.
/// @throws Error with the line's number.
std::vector<FeatureTemplate> parse_templates(std::string_view text);

/// The templates customary for chunking, on columns 0 (word) and 1 (part of speech): words at -2..2, word bigrams
/// touching the token, tags at -2..2, tag bigrams and trigrams within -2..2.
std::vector<FeatureTemplate> chunking_templates();

}  // namespace tapestry
