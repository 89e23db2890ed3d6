#include <tapestry/prob/discrete_model.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

constexpr double row_tolerance = 0.01;

template <class... Parts>
std::string join(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// A variable on a directed cycle, by removing variables whose parents are all gone.
std::optional<std::int64_t> find_cycle(const DiscreteModel& model) {
  const std::int64_t n = model.variables();
  std::vector<std::int64_t> first(n + 1, 0), parents(n, 0);
  for (const auto& scope : model.scopes)
    for (std::size_t i = 0; i + 1 < scope.size(); ++i) ++first[scope[i] + 1];
  for (std::int64_t v = 0; v < n; ++v) first[v + 1] += first[v];
  std::vector<std::int64_t> children(first.back()), fill(first.begin(), first.end() - 1);
  for (const auto& scope : model.scopes) {
    parents[scope.back()] = static_cast<std::int64_t>(scope.size()) - 1;
    for (std::size_t i = 0; i + 1 < scope.size(); ++i) children[fill[scope[i]]++] = scope.back();
  }
  std::vector<std::int64_t> ready;
  for (std::int64_t v = 0; v < n; ++v)
    if (parents[v] == 0) ready.push_back(v);
  for (std::size_t i = 0; i < ready.size(); ++i)
    for (std::int64_t c = first[ready[i]]; c < first[ready[i] + 1]; ++c)
      if (--parents[children[c]] == 0) ready.push_back(children[c]);
  const auto left = std::find_if(parents.begin(), parents.end(), [](std::int64_t p) { return p > 0; });
  if (left == parents.end()) return std::nullopt;
  return left - parents.begin();
}

}  // namespace

std::int64_t DiscreteModel::variable(const std::string& name) const {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) fail<IndexError>("variable", "no variable is named ", name);
  return found - names.begin();
}

std::int64_t DiscreteModel::state(std::int64_t variable, const std::string& name) const {
  if (variable < 0 || variable >= static_cast<std::int64_t>(states.size()))
    fail<IndexError>("state", "variable ", variable, " has no named states");
  const auto found = std::find(states[variable].begin(), states[variable].end(), name);
  if (found == states[variable].end()) fail<IndexError>("state", "variable ", variable, " has no state named ", name);
  return found - states[variable].begin();
}

std::optional<std::string> detail::table_fault(const std::vector<double>& table) {
  double largest = 0;
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (!std::isfinite(table[i])) return join("entry ", i, " is not finite");
    if (table[i] < 0) return join("entry ", i, " is negative: ", table[i]);
    largest = std::max(largest, table[i]);
  }
  if (largest == 0) return "all entries are zero";
  return std::nullopt;
}

std::optional<detail::ModelFault> detail::network_fault(const DiscreteModel& model, RowSums rows) {
  if (model.factors() != model.variables())
    return ModelFault{-1, join("a Bayesian network of ", model.variables(), " variables needs as many tables, has ",
                               model.factors())};
  std::vector<bool> seen(model.cardinalities.size());
  for (std::int64_t f = 0; f < model.factors(); ++f) {
    const auto& scope = model.scopes[f];
    if (scope.empty()) return ModelFault{f, "a table of a Bayesian network has an empty scope"};
    const std::int64_t child = scope.back(), states = model.cardinalities[child];
    if (seen[child]) return ModelFault{f, join("a second table for variable ", child)};
    seen[child] = true;
    const auto& table = model.tables[f];
    for (std::size_t row = 0; row < table.size(); row += static_cast<std::size_t>(states)) {
      double sum = 0;
      for (std::int64_t k = 0; k < states; ++k) sum += table[row + static_cast<std::size_t>(k)];
      if (sum > 1 + row_tolerance || (rows == RowSums::one && sum < 1 - row_tolerance))
        return ModelFault{f, join("row ", row / static_cast<std::size_t>(states), " of the table of variable ", child,
                                  " sums to ", sum, ", not to one")};
    }
  }
  if (const auto v = find_cycle(model)) return ModelFault{-1, join("variable ", *v, " is its own ancestor")};
  return std::nullopt;
}

void validate(const DiscreteModel& model, RowSums rows) {
  constexpr auto name = "validate";
  if (model.tables.size() != model.scopes.size())
    fail<ShapeError>(name, model.scopes.size(), " scopes, ", model.tables.size(), " tables");
  if (!model.names.empty() && model.names.size() != model.cardinalities.size())
    fail<ShapeError>(name, model.cardinalities.size(), " variables, ", model.names.size(), " names");
  if (!model.states.empty() && model.states.size() != model.cardinalities.size())
    fail<ShapeError>(name, model.cardinalities.size(), " variables, ", model.states.size(), " lists of state names");
  for (std::int64_t v = 0; v < model.variables(); ++v) {
    if (model.cardinalities[v] < 1) fail<ShapeError>(name, "variable ", v, " has ", model.cardinalities[v], " states");
    if (!model.states.empty() && static_cast<std::int64_t>(model.states[v].size()) != model.cardinalities[v])
      fail<ShapeError>(name, "variable ", v, " has ", model.cardinalities[v], " states, ", model.states[v].size(),
                       " names of states");
  }
  std::vector<std::int64_t> last(model.cardinalities.size(), -1);
  for (std::int64_t f = 0; f < model.factors(); ++f) {
    double entries = 1;
    for (const std::int64_t v : model.scopes[f]) {
      if (v < 0 || v >= model.variables())
        fail<IndexError>(name, "factor ", f, " names variable ", v, " of ", model.variables());
      if (last[v] == f) fail<IndexError>(name, "factor ", f, " names variable ", v, " twice");
      last[v] = f;
      entries *= static_cast<double>(model.cardinalities[v]);
    }
    if (static_cast<double>(model.tables[f].size()) != entries)
      fail<ShapeError>(name, "factor ", f, " has ", model.tables[f].size(), " entries, its scope ", entries);
    if (const auto fault = detail::table_fault(model.tables[f])) fail<NumericalError>(name, "factor ", f, ": ", *fault);
  }
  if (model.kind != ModelKind::bayes) return;
  if (const auto fault = detail::network_fault(model, rows)) {
    if (fault->factor < 0) fail<NumericalError>(name, fault->message);
    fail<NumericalError>(name, "factor ", fault->factor, ": ", fault->message);
  }
}

void validate(const Evidence& evidence, const std::vector<std::int64_t>& cardinalities) {
  std::vector<std::int64_t> seen(evidence.empty() ? 0 : cardinalities.size(), -1);
  for (const auto& [variable, state] : evidence) {
    if (variable < 0 || variable >= static_cast<std::int64_t>(cardinalities.size()))
      fail<IndexError>("evidence", "variable ", variable, " of ", cardinalities.size());
    if (state < 0 || state >= cardinalities[variable])
      fail<IndexError>("evidence", "variable ", variable, " has ", cardinalities[variable], " states, none is ", state);
    if (seen[variable] >= 0 && seen[variable] != state)
      fail<IndexError>("evidence", "variable ", variable, " is observed in states ", seen[variable], " and ", state);
    seen[variable] = state;
  }
}

double log_score(const DiscreteModel& model, const std::vector<std::int64_t>& assignment) {
  if (assignment.size() != model.cardinalities.size())
    fail<ShapeError>("log_score", "an assignment of ", assignment.size(), " to ", model.variables(), " variables");
  for (std::int64_t v = 0; v < model.variables(); ++v)
    if (assignment[v] < 0 || assignment[v] >= model.cardinalities[v])
      fail<IndexError>("log_score", "variable ", v, " has ", model.cardinalities[v], " states, none is ",
                       assignment[v]);
  double score = 0;
  for (std::int64_t f = 0; f < model.factors(); ++f) {
    std::int64_t entry = 0;
    for (const std::int64_t v : model.scopes[f]) entry = entry * model.cardinalities[v] + assignment[v];
    const double value = model.tables[f][static_cast<std::size_t>(entry)];
    if (value == 0) return -std::numeric_limits<double>::infinity();
    score += std::log(value);
  }
  return score;
}

}  // namespace tapestry
