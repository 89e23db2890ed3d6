#include <tapestry/prob/inference/exact.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>

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

/// Visits each assignment with the logarithm of its score, impossible ones left out.
template <class Visit>
void for_each_assignment(const DiscreteModel& model, const Evidence& evidence, double limit, Visit visit) {
  validate(model, RowSums::at_most_one);
  validate(evidence, model.cardinalities);
  std::vector<std::int64_t> assignment(model.cardinalities.size(), 0);
  std::vector<bool> observed(assignment.size());
  for (const auto& [variable, state] : evidence) {
    assignment[static_cast<std::size_t>(variable)] = state;
    observed[static_cast<std::size_t>(variable)] = true;
  }
  double count = 1;
  for (std::size_t v = 0; v < assignment.size(); ++v)
    if (!observed[v]) count *= static_cast<double>(model.cardinalities[v]);
  if (count > limit)
    fail<NumericalError>("enumerate", "there are ", count, " assignments, more than the limit of ", limit);
  while (true) {
    const double score = log_score(model, assignment);
    if (score != minus_infinity) visit(assignment, score);
    bool advanced = false;
    for (std::size_t v = assignment.size(); v-- > 0 && !advanced;) {
      if (observed[v]) continue;
      advanced = ++assignment[v] < model.cardinalities[v];
      if (!advanced) assignment[v] = 0;
    }
    if (!advanced) return;
  }
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
  for_each_assignment(model, evidence, limit, [&](const auto&, double score) { largest = std::max(largest, score); });
  ExactMarginals result;
  result.possible = largest != minus_infinity;
  result.log_partition = minus_infinity;
  if (!result.possible) return result;
  for (const std::int64_t k : model.cardinalities) result.variables.emplace_back(static_cast<std::size_t>(k), 0.0);
  for (const auto& table : model.tables) result.factors.emplace_back(table.size(), 0.0);
  double total = 0;
  for_each_assignment(model, evidence, limit, [&](const auto& assignment, double score) {
    const double p = std::exp(score - largest);
    total += p;
    for (std::size_t v = 0; v < assignment.size(); ++v)
      result.variables[v][static_cast<std::size_t>(assignment[v])] += p;
    for (std::size_t f = 0; f < model.scopes.size(); ++f) {
      std::int64_t entry = 0;
      for (const std::int64_t v : model.scopes[f])
        entry = entry * model.cardinalities[static_cast<std::size_t>(v)] + assignment[static_cast<std::size_t>(v)];
      result.factors[f][static_cast<std::size_t>(entry)] += p;
    }
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
  for_each_assignment(model, evidence, limit, [&](const auto& assignment, double score) {
    if (score > result.log_value) {
      result.log_value = score;
      result.assignment = assignment;
      result.possible = true;
    }
  });
  return result;
}

}  // namespace tapestry
