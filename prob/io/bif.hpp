#pragma once

#include <string>
#include <string_view>

#include <tapestry/prob/discrete_model.hpp>

// The Bayesian Interchange Format: networks, discrete variables with named states, conditional probability tables.
namespace tapestry {

/// Reads a network; gzipped files are unpacked. Tables may be given by rows, whole (the child's state changes slowest,
/// as in version 0.15), or by `default` entries; properties are skipped. The tables' scopes are the parents in the
/// order of the file, then the child. @throws IoError naming file and line.
DiscreteModel read_bif(const std::string& path);
/// The same from text; `file` is for messages.
DiscreteModel parse_bif(std::string_view text, std::string_view file = "text");

/// Writes a Bayesian network; variables and states without names are called x0, x1, ... and s0, s1, ...
/// @throws IoError; NumericalError unless the model is a Bayesian network.
void write_bif(const std::string& path, const DiscreteModel& model);
std::string format_bif(const DiscreteModel& model);

}  // namespace tapestry
