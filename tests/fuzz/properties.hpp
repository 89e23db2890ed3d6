#pragma once

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <sstream>
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

/// Results hold the numbers they were made from, to the last bit. The bytes are taken as marginals of 0 to 7 states.
/// Whether there were any.
inline bool check_results(std::string_view bytes) {
  std::vector<std::vector<double>> marginals;
  std::vector<std::int64_t> assignment;
  std::vector<double> numbers;
  while (!bytes.empty()) {
    const std::size_t states = static_cast<unsigned char>(bytes.front()) % 8;
    bytes.remove_prefix(1);
    if (bytes.size() < states * sizeof(double)) break;
    marginals.emplace_back(states);
    if (states > 0) std::memcpy(marginals.back().data(), bytes.data(), states * sizeof(double));
    bytes.remove_prefix(states * sizeof(double));
    assignment.push_back(static_cast<std::int64_t>(states));
    numbers.push_back(static_cast<double>(states));
    numbers.insert(numbers.end(), marginals.back().begin(), marginals.back().end());
  }
  const auto check = [](const std::string& text, const std::string& title, const std::vector<double>& expected) {
    std::istringstream words(text);
    std::string word;
    require(words >> word && word == title);
    for (const double x : expected) {
      double read = 0;
      require(static_cast<bool>(words >> word));
      const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), read);
      require(code == std::errc() && end == word.data() + word.size());
      require(std::isnan(x) ? std::isnan(read) : std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(read));
    }
    require(!(words >> word) && text.back() == '\n');
  };
  numbers.insert(numbers.begin(), static_cast<double>(marginals.size()));
  check(tapestry::format_uai_mar(marginals), "MAR", numbers);
  std::vector<double> states(assignment.begin(), assignment.end());
  states.insert(states.begin(), static_cast<double>(assignment.size()));
  check(tapestry::format_uai_map(assignment), "MAP", states);
  for (const auto& marginal : marginals)
    for (const double x : marginal) check(tapestry::format_uai_pr(x), "PR", {x / std::log(10.0)});
  return !marginals.empty();
}

}  // namespace fuzz
