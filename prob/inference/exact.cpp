#include <tapestry/prob/inference/exact.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/assignment_walk.hpp>

namespace tapestry {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

struct Prepared {
  CliqueTree tree;
  std::vector<const double*> tables;
  std::vector<std::int64_t> states;
};

/// What is asked for beyond the log-partition.
enum class Wanted { nothing, marginals, maximum };

Prepared prepare(const DiscreteModel& model, const Evidence& evidence, CliqueTreeOptions options, Wanted wanted) {
  validate(model, RowSums::at_most_one);
  validate(evidence, model.cardinalities);
  std::vector<std::int64_t> observed, states;
  for (const auto& [variable, state] : evidence) {
    observed.push_back(variable);
    states.push_back(state);
  }
  std::vector<const double*> tables;
  for (const auto& table : model.tables) tables.push_back(table.data());
  options.marginals = options.factor_marginals = wanted == Wanted::marginals;
  options.maximum = wanted == Wanted::maximum;
  options.log_partition = !options.maximum;
  return {CliqueTree(model.cardinalities, model.scopes, observed, options), std::move(tables), std::move(states)};
}

std::vector<std::vector<double>> split(const std::vector<double>& flat, const std::vector<std::size_t>& sizes) {
  std::vector<std::vector<double>> out;
  auto from = flat.begin();
  for (const std::size_t n : sizes) {
    out.emplace_back(from, from + static_cast<std::ptrdiff_t>(n));
    from += static_cast<std::ptrdiff_t>(n);
  }
  return out;
}

/// Visits each possible assignment with the logarithm of its score.
template <class Visit>
void enumerate(const DiscreteModel& model, const Evidence& evidence, double limit, Visit visit) {
  validate(model, RowSums::at_most_one);
  validate(evidence, model.cardinalities);
  const double count = detail::assignment_count(model.cardinalities, evidence);
  if (count > limit)
    fail<NumericalError>("enumerate", "there are ", count, " assignments, more than the limit of ", limit);
  std::vector<std::vector<double>> logarithms = model.tables;
  std::vector<const double*> tables;
  for (auto& table : logarithms) {
    for (double& x : table) x = std::log(x);
    tables.push_back(table.data());
  }
  detail::for_each_score(model.cardinalities, model.scopes, tables, evidence, visit);
}

}  // namespace

ExactMarginals exact_marginals(const DiscreteModel& model, const Evidence& evidence, const CliqueTreeOptions& options) {
  const auto [tree, tables, states] = prepare(model, evidence, options, Wanted::marginals);
  const ExactSums sums = tree.sums(tables, TableScale::linear, states, true, true);
  ExactMarginals result;
  result.log_partition = sums.log_partition;
  result.possible = sums.possible;
  result.width = tree.width();
  result.bytes = tree.bytes();
  if (!sums.possible) return result;
  result.variables = split(sums.variables, {model.cardinalities.begin(), model.cardinalities.end()});
  std::vector<std::size_t> sizes;
  for (const auto& table : model.tables) sizes.push_back(table.size());
  result.factors = split(sums.factors, sizes);
  return result;
}

double exact_log_partition(const DiscreteModel& model, const Evidence& evidence, const CliqueTreeOptions& options) {
  const auto [tree, tables, states] = prepare(model, evidence, options, Wanted::nothing);
  return tree.sums(tables, TableScale::linear, states, false, false).log_partition;
}

ExactMaximum exact_maximum(const DiscreteModel& model, const Evidence& evidence, const CliqueTreeOptions& options) {
  const auto [tree, tables, states] = prepare(model, evidence, options, Wanted::maximum);
  return tree.maximum(tables, TableScale::linear, states);
}

ExactMarginals enumerate_marginals(const DiscreteModel& model, const Evidence& evidence, double limit) {
  double largest = minus_infinity;
  enumerate(model, evidence, limit, [&](const auto&, double score) { largest = std::max(largest, score); });
  ExactMarginals result;
  result.possible = largest != minus_infinity;
  result.log_partition = minus_infinity;
  if (!result.possible) return result;
  for (const std::int64_t k : model.cardinalities) result.variables.emplace_back(static_cast<std::size_t>(k), 0.0);
  for (const auto& table : model.tables) result.factors.emplace_back(table.size(), 0.0);
  double total = 0;
  enumerate(model, evidence, limit, [&](const auto& assignment, double score) {
    const double p = std::exp(score - largest);
    total += p;
    for (std::size_t v = 0; v < assignment.size(); ++v)
      result.variables[v][static_cast<std::size_t>(assignment[v])] += p;
    for (std::size_t f = 0; f < model.scopes.size(); ++f)
      result.factors[f][detail::entry_at(assignment, model.scopes[f], model.cardinalities)] += p;
  });
  for (auto* group : {&result.variables, &result.factors})
    for (auto& marginal : *group)
      for (double& p : marginal) p /= total;
  result.log_partition = largest + std::log(total);
  return result;
}

ExactMaximum enumerate_maximum(const DiscreteModel& model, const Evidence& evidence, double limit) {
  ExactMaximum result;
  result.log_value = minus_infinity;
  result.possible = false;
  enumerate(model, evidence, limit, [&](const auto& assignment, double score) {
    if (score > result.log_value) {
      result.log_value = score;
      result.assignment = assignment;
      result.possible = true;
    }
  });
  return result;
}

}  // namespace tapestry
