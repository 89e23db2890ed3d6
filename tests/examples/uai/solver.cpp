#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>

#include "models.hpp"

namespace uai_models {
namespace {

struct Table {
  std::vector<int> scope;
  std::vector<long double> values;
};

constexpr std::size_t most_entries = std::size_t{1} << 20;

std::size_t entry_of(const Model& model, const std::vector<int>& scope, const std::vector<int>& state) {
  std::size_t entry = 0;
  for (const int v : scope)
    entry = entry * static_cast<std::size_t>(model.states[static_cast<std::size_t>(v)]) +
            static_cast<std::size_t>(state[static_cast<std::size_t>(v)]);
  return entry;
}

/// The product of tables, entry by entry.
Table product(const Model& model, const std::vector<const Table*>& parts, std::set<int> variables) {
  Table out;
  out.scope.assign(variables.begin(), variables.end());
  std::size_t size = 1;
  for (const int v : out.scope) {
    size *= static_cast<std::size_t>(model.states[static_cast<std::size_t>(v)]);
    if (size > most_entries) throw std::runtime_error("the model is too wide");
  }
  std::vector<int> state(model.states.size(), 0);
  for (std::size_t i = 0; i < size; ++i) {
    std::size_t rest = i;
    for (std::size_t k = out.scope.size(); k-- > 0;) {
      const auto v = static_cast<std::size_t>(out.scope[k]);
      state[v] = static_cast<int>(rest % static_cast<std::size_t>(model.states[v]));
      rest /= static_cast<std::size_t>(model.states[v]);
    }
    long double value = 1;
    for (const Table* part : parts) value *= part->values[entry_of(model, part->scope, state)];
    out.values.push_back(value);
  }
  return out;
}

/// Eliminates all variables but `keep`, each time the one whose table is least. Returns what is left, and the log of
/// what was divided out. With `best`, by maximum, and the maximum's states.
std::pair<Table, long double> eliminate(const Model& model, int keep, std::vector<int>* best) {
  std::vector<Table> tables;
  for (std::size_t f = 0; f < model.scopes.size(); ++f)
    tables.push_back({model.scopes[f], {model.tables[f].begin(), model.tables[f].end()}});
  for (const auto& [v, s] : model.evidence) {
    Table seen{{v}, std::vector<long double>(static_cast<std::size_t>(model.states[static_cast<std::size_t>(v)]), 0)};
    seen.values[static_cast<std::size_t>(s)] = 1;
    tables.push_back(std::move(seen));
  }
  long double log_scale = 0;
  std::set<int> left;
  for (int v = 0; v < model.variables(); ++v)
    if (v != keep) left.insert(v);
  std::vector<std::pair<int, Table>> eliminated;
  while (!left.empty()) {
    int next = -1;
    double least = 0;
    std::set<int> joined;
    for (const int v : left) {
      std::set<int> around = {v};
      for (const auto& table : tables)
        if (std::count(table.scope.begin(), table.scope.end(), v))
          around.insert(table.scope.begin(), table.scope.end());
      double size = 0;
      for (const int u : around) size += std::log(model.states[static_cast<std::size_t>(u)]);
      if (next < 0 || size < least) {
        next = v;
        least = size;
        joined = around;
      }
    }
    left.erase(next);
    std::vector<const Table*> parts;
    std::vector<Table> others;
    for (const auto& table : tables)
      if (std::count(table.scope.begin(), table.scope.end(), next)) parts.push_back(&table);
    Table whole = product(model, parts, joined);
    for (auto& table : tables)
      if (!std::count(table.scope.begin(), table.scope.end(), next)) others.push_back(std::move(table));
    Table rest;
    for (const int u : whole.scope)
      if (u != next) rest.scope.push_back(u);
    const auto count = static_cast<std::size_t>(model.states[static_cast<std::size_t>(next)]);
    std::size_t inner = 1;
    for (std::size_t k = whole.scope.size(); whole.scope[k - 1] != next; --k)
      inner *= static_cast<std::size_t>(model.states[static_cast<std::size_t>(whole.scope[k - 1])]);
    long double largest = 0;
    for (std::size_t i = 0; i < whole.values.size() / count; ++i) {
      long double value = 0;
      for (std::size_t s = 0; s < count; ++s) {
        const long double x = whole.values[(i / inner * count + s) * inner + i % inner];
        value = best != nullptr ? std::max(value, x) : value + x;
      }
      rest.values.push_back(value);
      largest = std::max(largest, value);
    }
    if (largest > 0) {
      for (auto& x : rest.values) x /= largest;
      log_scale += std::log(largest);
    }
    if (best != nullptr) eliminated.emplace_back(next, std::move(whole));
    others.push_back(std::move(rest));
    tables = std::move(others);
  }
  std::vector<const Table*> parts;
  for (const auto& table : tables) parts.push_back(&table);
  Table result = product(model, parts, keep < 0 ? std::set<int>() : std::set<int>{keep});
  if (best != nullptr) {
    best->assign(model.states.size(), 0);
    for (std::size_t i = eliminated.size(); i-- > 0;) {
      const auto& [v, whole] = eliminated[i];
      auto& own = (*best)[static_cast<std::size_t>(v)];
      long double largest = -1;
      int state = 0;
      for (int s = 0; s < model.states[static_cast<std::size_t>(v)]; ++s) {
        own = s;
        const long double x = whole.values[entry_of(model, whole.scope, *best)];
        if (x > largest) {
          largest = x;
          state = s;
        }
      }
      own = state;
    }
  }
  return {std::move(result), log_scale};
}

}  // namespace

Answers solve(const Model& model) {
  Answers out;
  const auto [one, scale] = eliminate(model, -1, nullptr);
  out.log10_partition = static_cast<double>((std::log(one.values.front()) + scale) / std::log(10.0L));
  for (int v = 0; v < model.variables(); ++v) {
    const auto [table, ignored] = eliminate(model, v, nullptr);
    long double total = 0;
    for (const long double x : table.values) total += x;
    out.marginals.emplace_back();
    for (const long double x : table.values) out.marginals.back().push_back(static_cast<double>(x / total));
  }
  eliminate(model, -1, &out.best);
  return out;
}

}  // namespace uai_models
