#pragma once

#include <algorithm>
#include <cmath>

#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

#include "prob/small_graphs.hpp"

namespace testing_losses {

using namespace tapestry;
using testing_models::all_assignments;
using testing_models::index_tensor;
using testing_models::log_sum;
using testing_models::normal_variables;
using testing_models::plain_score;
using Potentials = std::vector<Var<double>>;
using States = std::vector<std::int64_t>;

inline constexpr LossKind all_kinds[] = {
    LossKind::likelihood,       LossKind::pseudo_likelihood,    LossKind::piecewise,
    LossKind::univariate_log,   LossKind::univariate_quadratic, LossKind::clique_log,
    LossKind::clique_quadratic, LossKind::max_margin,           LossKind::perceptron};

/// A cycle, a triple, and factors that count, over variables of two cardinalities.
inline FactorGraph<double> mixed_graph(const Potentials& x, bool structured = true) {
  FactorGraph<double> graph;
  const auto a = graph.add_variables("a", {3}, 3);
  graph.add_variables("b", {3}, 2);
  graph.add_unary("unary", a, x[0]);
  graph.add_factors("pairs", complete_edges(graph.ids(a)), x[1]);
  graph.add_factors("triple", index_tensor({1, 3}, {2, 3, 4}), x[2]);
  if (structured) graph.add_structured("count", FactorKind::cardinality, index_tensor({1, 3}, {3, 4, 5}), x[3]);
  if (structured) graph.add_structured("or", FactorKind::logic_or, index_tensor({1, 3}, {5, 3, 4}), x[4]);
  return graph;
}
inline Potentials mixed_potentials(bool batched, double spread = 1) {
  return normal_variables({batched ? Shape{2, 3, 3} : Shape{3, 3}, {3, 3}, {1, 3, 2, 2}, {4}, {1, 2}}, spread);
}

/// Each loss by enumeration; labels of -1 are hidden from losses of marginals.
inline double enumerated(const FactorGraph<double>& graph, const States& y, LossKind kind, std::int64_t b,
                         double cost = 1) {
  const auto all = all_assignments(graph);
  std::vector<double> scores;
  for (const auto& states : all) scores.push_back(plain_score(graph, states, b));
  const bool hidden = *std::min_element(y.begin(), y.end()) < 0;
  const double own = hidden ? 0 : plain_score(graph, y, b), log_partition = log_sum(scores);
  std::vector<bool> seen(y.size());
  for (const auto& [variable, state] : graph.evidence()) seen[static_cast<std::size_t>(variable)] = true;
  double total = 0;
  switch (kind) {
    case LossKind::likelihood:
      return log_partition - own;
    case LossKind::pseudo_likelihood:
      for (std::size_t v = 0; v < y.size(); ++v) {
        if (seen[v]) continue;
        std::vector<double> terms;
        States states = y;
        for (states[v] = 0; states[v] < graph.cardinality(static_cast<std::int64_t>(v)); ++states[v])
          terms.push_back(plain_score(graph, states, b));
        total += log_sum(terms) - own;
      }
      return total;
    case LossKind::piecewise:
      for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
        const auto& group = graph.factor_groups()[g];
        for (std::int64_t f = 0; f < group.factors(); ++f) {
          // A graph of this factor alone; variables outside its scope do not change its score, only their number.
          FactorGraph<double> alone;
          for (const auto& variables : graph.variable_groups())
            alone.add_variables(variables.name, variables.shape, variables.cardinality);
          const auto layout = PotentialLayout::of(group, graph.all_potentials()[g].shape());
          Tensor<double> own_potentials = empty_tensor<double>(group.table());
          std::copy_n(graph.all_potentials()[g].data() + b * layout.batch_stride + f * layout.factor_stride,
                      layout.entries, own_potentials.data());
          const IndexTensor scope = index_tensor(
              {1, group.arity()},
              States(group.scopes.data() + f * group.arity(), group.scopes.data() + (f + 1) * group.arity()));
          if (group.kind == FactorKind::table)
            alone.add_factors("alone", scope, Var<double>(std::move(own_potentials)));
          else
            alone.add_structured("alone", group.kind, scope, Var<double>(std::move(own_potentials)));
          alone.observe(graph.evidence());
          for (std::int64_t v = 0; v < graph.variables(); ++v)
            if (std::find(scope.begin(), scope.end(), v) == scope.end() && !seen[static_cast<std::size_t>(v)])
              alone.observe(v, 0);
          std::vector<double> terms;
          for (const auto& states : all_assignments(alone)) terms.push_back(plain_score(alone, states));
          total += log_sum(terms) - plain_score(alone, y);
        }
      }
      return total;
    case LossKind::max_margin:
    case LossKind::perceptron: {
      double best = own;
      for (std::size_t i = 0; i < all.size(); ++i) {
        double wrong = 0;
        for (std::size_t v = 0; v < y.size(); ++v) wrong += all[i][v] != y[v];
        best = std::max(best, scores[i] + (kind == LossKind::max_margin ? cost * wrong : 0));
      }
      return best - own;
    }
    default:
      break;
  }
  const auto judge = [&](const std::vector<double>& p, std::size_t label) {
    if (kind == LossKind::univariate_log || kind == LossKind::clique_log) return -std::log(p[label]);
    double distance = 0;
    for (std::size_t k = 0; k < p.size(); ++k) distance += (p[k] - (k == label)) * (p[k] - (k == label));
    return distance;
  };
  const auto marginal = [&](std::size_t entries, const auto& entry) {
    std::vector<double> p(entries, 0.0);
    for (std::size_t i = 0; i < all.size(); ++i)
      if (const auto e = entry(all[i]); e >= 0) p[static_cast<std::size_t>(e)] += std::exp(scores[i] - log_partition);
    return judge(p, static_cast<std::size_t>(entry(y)));
  };
  if (kind == LossKind::univariate_log || kind == LossKind::univariate_quadratic) {
    for (std::size_t v = 0; v < y.size(); ++v)
      if (y[v] >= 0 && !seen[v])
        total += marginal(static_cast<std::size_t>(graph.cardinality(static_cast<std::int64_t>(v))),
                          [&](const States& s) { return s[v]; });
    return total;
  }
  for (const auto& group : graph.factor_groups())
    for (std::int64_t f = 0; group.arity() > 1 && f < group.factors(); ++f) {
      const std::int64_t* scope = group.scopes.data() + f * group.arity();
      if (std::any_of(scope, scope + group.arity(), [&](auto v) { return y[static_cast<std::size_t>(v)] < 0; }))
        continue;
      total += marginal(static_cast<std::size_t>(group.table().elements()), [&](const States& s) {
        States local;
        for (std::int64_t i = 0; i < group.arity(); ++i)
          local.push_back(s[static_cast<std::size_t>(group.scopes[f * group.arity() + i])]);
        return group.entry(local.data());
      });
    }
  return total;
}

inline const States labels_a = {2, 0, 1, 1, 0, 1}, labels_b = {0, 0, 2, 0, 1, 1};

}  // namespace testing_losses
