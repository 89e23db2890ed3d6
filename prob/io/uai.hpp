#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tapestry/prob/discrete_model.hpp>

// The text format of the UAI inference competitions: models (MARKOV, BAYES), evidence, and results (PR, MAR, MAP).
// Lines that begin with the letter c are comments, as the competition of 2016 has it.
namespace tapestry {

/// Reads a model; gzipped files are unpacked. Tables of a BAYES file may have rows that sum to less than one, as files
/// with pruned states have. @throws IoError naming file and line.
DiscreteModel read_uai(const std::string& path);
/// The same from text; `file` is for messages.
DiscreteModel parse_uai(std::string_view text, std::string_view file = "text");

/// Reads evidence, `count variable state ...`, or the same for each of several samples after their number. A file
/// that starts with 0, or is empty, holds none; where both readings fit, lines decide. There is always at least one
/// element, empty for no evidence.
/// @throws IoError naming file and line, also for variables and states that do not exist.
std::vector<Evidence> read_uai_evidence(const std::string& path, const std::vector<std::int64_t>& cardinalities);
std::vector<Evidence> parse_uai_evidence(std::string_view text, const std::vector<std::int64_t>& cardinalities,
                                         std::string_view file = "text");

/// @throws IoError
void write_uai(const std::string& path, const DiscreteModel& model);
std::string format_uai(const DiscreteModel& model);
std::string format_uai_evidence(const Evidence& evidence);

/// "PR" and the decimal logarithm of the partition function, given its natural one.
std::string format_uai_pr(double log_partition);
/// "MAR" and the marginal of each variable.
std::string format_uai_mar(const std::vector<std::vector<double>>& marginals);
/// "MAP" and the state of each variable.
std::string format_uai_map(const std::vector<std::int64_t>& assignment);

}  // namespace tapestry
