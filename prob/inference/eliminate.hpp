#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/elimination_order.hpp>
#include <tapestry/prob/inference/message_parts.hpp>
#include <tapestry/prob/inference/semirings.hpp>

namespace tapestry {

struct EliminateOptions {
  EliminationOptions order = {};
  double memory_limit = 1073741824.0;  ///< bytes, of all tables at once, without what values point to
  std::int64_t batch = 0;              ///< which batch element
};

namespace detail {

/// A table over variables, the last one fastest. Variables with evidence have their one state.
template <class Value>
struct SemiringTable {
  std::vector<std::int64_t> scope;
  std::vector<Value> values;
};

/// Where each variable's states begin and how many there are.
struct Domains {
  template <class T>
  explicit Domains(const FactorGraph<T>& graph) {
    for (const auto& group : graph.variable_groups())
      count.resize(count.size() + static_cast<std::size_t>(group.size()), group.cardinality);
    first.resize(count.size(), 0);
    for (const auto& [variable, state] : graph.evidence()) {
      first[static_cast<std::size_t>(variable)] = state;
      count[static_cast<std::size_t>(variable)] = 1;
    }
  }
  std::int64_t size(const std::vector<std::int64_t>& scope) const {
    std::int64_t n = 1;
    for (const std::int64_t v : scope) n *= count[static_cast<std::size_t>(v)];
    return n;
  }
  /// Steps through the assignments of a scope: offsets from each variable's first state.
  bool advance(const std::vector<std::int64_t>& scope, std::vector<std::int64_t>& at) const {
    for (std::size_t i = scope.size(); i-- > 0;) {
      const auto v = static_cast<std::size_t>(scope[i]);
      if (++at[v] < count[v]) return true;
      at[v] = 0;
    }
    return false;
  }
  std::size_t entry(const std::vector<std::int64_t>& scope, const std::vector<std::int64_t>& at) const {
    std::int64_t out = 0;
    for (const std::int64_t v : scope) out = out * count[static_cast<std::size_t>(v)] + at[static_cast<std::size_t>(v)];
    return static_cast<std::size_t>(out);
  }
  std::vector<std::int64_t> first, count;
};

/// All factors of one batch element as tables.
template <class S, class T>
std::vector<SemiringTable<typename S::Value>> semiring_tables(const FactorGraph<T>& graph, const Domains& domains,
                                                              S& semiring, std::int64_t batch) {
  std::vector<SemiringTable<typename S::Value>> out;
  std::vector<std::int64_t> at(domains.count.size(), 0), states;
  for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
    const auto& group = graph.factor_groups()[g];
    const auto layout = PotentialLayout::of(group, graph.all_potentials()[g].shape());
    const T* potentials = graph.all_potentials()[g].data() + batch * layout.batch_stride;
    states.resize(static_cast<std::size_t>(group.arity()));
    for (std::int64_t f = 0; f < group.factors(); ++f) {
      const std::int64_t* scope = group.scopes.data() + f * group.arity();
      SemiringTable<typename S::Value> table{{scope, scope + group.arity()}, {}};
      table.values.reserve(static_cast<std::size_t>(domains.size(table.scope)));
      do {
        for (std::size_t i = 0; i < states.size(); ++i) {
          const auto v = static_cast<std::size_t>(scope[i]);
          states[i] = domains.first[v] + at[v];
        }
        const std::int64_t entry = group.entry(states.data());
        table.values.push_back(
            entry < 0 ? semiring.zero()
                      : semiring.factor(static_cast<std::int64_t>(g), f, entry,
                                        static_cast<double>(potentials[f * layout.factor_stride + entry])));
      } while (domains.advance(table.scope, at));
      out.push_back(std::move(table));
    }
  }
  return out;
}

}  // namespace detail

/// The sum over all assignments, evidence given, of the product of all factors in a semiring, by variable elimination.
/// On chains and trees the time is linear in their length. @throws NumericalError with the width and the memory needed
/// where the tables need more than the limit, IndexError for a batch element that does not exist
template <class S, class T>
typename S::Value eliminate(const FactorGraph<T>& graph, S& semiring, const EliminateOptions& options = {}) {
  using Table = detail::SemiringTable<typename S::Value>;
  if (options.batch < 0 || options.batch >= std::max<std::int64_t>(graph.batch(), 1))
    fail<IndexError>("eliminate", "batch element ", options.batch, " of ", graph.batch());
  const detail::Domains domains(graph);
  std::vector<std::vector<std::int64_t>> scopes;
  for (const auto& group : graph.factor_groups())
    for (std::int64_t f = 0; f < group.factors(); ++f)
      scopes.emplace_back(group.scopes.data() + f * group.arity(), group.scopes.data() + (f + 1) * group.arity());
  const EliminationOrder plan = elimination_order(domains.count, scopes, options.order);
  // Tables of factors, and what is left of each sum.
  double bytes = 0;
  for (const auto* tables : {&std::as_const(scopes), &plan.neighbours})
    for (const auto& scope : *tables) {
      double size = sizeof(typename S::Value);
      for (const std::int64_t v : scope) size *= static_cast<double>(domains.count[static_cast<std::size_t>(v)]);
      bytes += size;
    }
  if (!plan.complete || bytes > options.memory_limit)
    fail<NumericalError>("eliminate", "width ", plan.width, " needs ", bytes, " bytes, the limit is ",
                         options.memory_limit);
  // Each table waits at the first of its variables that is eliminated.
  std::vector<std::size_t> position(domains.count.size());
  for (std::size_t i = 0; i < plan.order.size(); ++i) position[static_cast<std::size_t>(plan.order[i])] = i;
  std::vector<std::vector<Table>> waiting(plan.order.size());
  typename S::Value total = semiring.one();
  const auto put = [&](Table table) {
    if (table.scope.empty()) {
      total = semiring.times(total, table.values[0]);
      return;
    }
    std::size_t first = plan.order.size();
    for (const std::int64_t v : table.scope) first = std::min(first, position[static_cast<std::size_t>(v)]);
    waiting[first].push_back(std::move(table));
  };
  for (auto& table : detail::semiring_tables(graph, domains, semiring, options.batch)) put(std::move(table));
  std::vector<std::int64_t> at(domains.count.size(), 0);
  for (std::size_t i = 0; i < plan.order.size(); ++i) {
    const std::int64_t variable = plan.order[i];
    const auto v = static_cast<std::size_t>(variable);
    Table rest;
    for (const Table& table : waiting[i])
      for (const std::int64_t w : table.scope)
        if (w != variable && std::find(rest.scope.begin(), rest.scope.end(), w) == rest.scope.end())
          rest.scope.push_back(w);
    rest.values.reserve(static_cast<std::size_t>(domains.size(rest.scope)));
    do {
      typename S::Value sum = semiring.zero();
      for (at[v] = 0; at[v] < domains.count[v]; ++at[v]) {
        typename S::Value product = semiring.state(variable, domains.first[v] + at[v]);
        for (const Table& table : waiting[i])
          product = semiring.times(product, table.values[domains.entry(table.scope, at)]);
        sum = semiring.plus(sum, product);
      }
      at[v] = 0;
      rest.values.push_back(std::move(sum));
    } while (domains.advance(rest.scope, at));
    waiting[i].clear();
    put(std::move(rest));
  }
  return total;
}

}  // namespace tapestry
