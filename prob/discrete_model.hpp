#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tapestry {

/// Whether the tables are arbitrary factors or conditional probability tables.
enum class ModelKind { markov, bayes };

/// A discrete graphical model as files hold it: tables of numbers, not logarithms, without a tape.
///
/// The last variable of a scope changes fastest in its table. In a Bayesian network it is the child of the variables
/// before it. Scopes may be empty (a table of one number) and variables may have a single state.
struct DiscreteModel {
  ModelKind kind = ModelKind::markov;
  std::vector<std::int64_t> cardinalities;
  std::vector<std::vector<std::int64_t>> scopes;
  std::vector<std::vector<double>> tables;
  std::vector<std::string> names;                ///< of the variables; may be empty
  std::vector<std::vector<std::string>> states;  ///< names of each variable's states; may be empty

  std::int64_t variables() const { return static_cast<std::int64_t>(cardinalities.size()); }
  std::int64_t factors() const { return static_cast<std::int64_t>(scopes.size()); }
  /// The position of a variable in `names`. @throws IndexError
  std::int64_t variable(const std::string& name) const;
  /// The position of a state's name. @throws IndexError
  std::int64_t state(std::int64_t variable, const std::string& name) const;
};

/// A variable that was seen in a state.
struct Observation {
  std::int64_t variable = 0;
  std::int64_t state = 0;
  friend bool operator==(const Observation&, const Observation&) = default;
};
using Evidence = std::vector<Observation>;

/// How strictly the rows of conditional probability tables are judged; to within 0.01, as files round.
enum class RowSums {
  one,         ///< each row sums to one
  at_most_one  ///< impossible states may have been pruned, as pedigree files do
};

/// Throws unless sizes agree, scopes name existing variables at most once, all entries are finite and non-negative with
/// a positive one in each table, and, in a Bayesian network, each variable has one table, without cycles, whose rows
/// sum as asked. @throws ShapeError, IndexError or NumericalError naming the factor.
void validate(const DiscreteModel& model, RowSums rows = RowSums::one);
/// @throws IndexError unless all variables and states exist and none is observed in two states.
void validate(const Evidence& evidence, const std::vector<std::int64_t>& cardinalities);

/// log of the product of all table entries at an assignment: -inf where one is zero.
double log_score(const DiscreteModel& model, const std::vector<std::int64_t>& assignment);

namespace detail {

/// What is wrong with a model, and with which factor (-1: with none in particular).
struct ModelFault {
  std::int64_t factor = -1;
  std::string message;
};
/// The first negative, non-finite or all-zero table.
std::optional<std::string> table_fault(const std::vector<double>& table);
/// The first fault of a Bayesian network whose tables have the right sizes.
std::optional<ModelFault> network_fault(const DiscreteModel& model, RowSums rows);

}  // namespace detail
}  // namespace tapestry
