#pragma once

#include <string>
#include <string_view>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/io/bif.hpp>
#include <tapestry/prob/io/uai.hpp>

#include "fuzz/require.hpp"

// What must hold of a reader for any text whatever: it gives a valid model that survives writing and reading, or throws
// an IoError that names a line. Shared by the libFuzzer targets and the mutation tests.
namespace fuzz {

inline bool names_line(std::string_view message, std::string_view operation) {
  const std::string start = std::string(operation) + ": text:";
  return message.substr(0, start.size()) == start && message.size() > start.size() && message[start.size()] >= '1' &&
         message[start.size()] <= '9';
}

inline bool same(const tapestry::DiscreteModel& a, const tapestry::DiscreteModel& b) {
  return a.kind == b.kind && a.cardinalities == b.cardinalities && a.scopes == b.scopes && a.tables == b.tables;
}

/// Whether the text was a model.
inline bool check_uai(std::string_view text) {
  try {
    const auto model = tapestry::parse_uai(text);
    tapestry::validate(model, tapestry::RowSums::at_most_one);
    require(same(model, tapestry::parse_uai(tapestry::format_uai(model))));
    return true;
  } catch (const tapestry::IoError& error) {
    require(names_line(error.what(), "read_uai"));
    return false;
  }
}

inline bool check_evidence(std::string_view text) {
  const std::vector<std::int64_t> cardinalities = {2, 3, 1, 2};
  try {
    const auto samples = tapestry::parse_uai_evidence(text, cardinalities);
    require(!samples.empty());
    for (const auto& evidence : samples) {
      tapestry::validate(evidence, cardinalities);
      require(tapestry::parse_uai_evidence(tapestry::format_uai_evidence(evidence), cardinalities).front() == evidence);
    }
    return true;
  } catch (const tapestry::IoError& error) {
    require(names_line(error.what(), "read_uai_evidence"));
    return false;
  }
}

inline bool check_bif(std::string_view text) {
  try {
    const auto model = tapestry::parse_bif(text);
    tapestry::validate(model);
    const auto again = tapestry::parse_bif(tapestry::format_bif(model));
    require(same(model, again) && model.names == again.names && model.states == again.states);
    return true;
  } catch (const tapestry::IoError& error) {
    require(names_line(error.what(), "read_bif"));
    return false;
  }
}

}  // namespace fuzz
