#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/prob/entry_sums.hpp>
#include <tapestry/prob/inference/message_parts.hpp>
#include <tapestry/prob/losses/labelling.hpp>
#include <tapestry/prob/losses/marginal_loss.hpp>

// Losses that normalise locally: by variable or by factor.
namespace tapestry::detail {

template <class T>
Var<T> negative_pseudo_likelihood(const FactorGraph<T>& graph, const Labelling<T>& labels) {
  const auto& structure = *graph.structure();
  const std::int64_t rows = labels.rows(), states = structure.states();
  // The score of each state of each variable, all others as labelled.
  Var<T> scores = Var<T>::zeros({rows, states});
  std::vector<std::int64_t> local;
  for (std::size_t g = 0; g < structure.factors.size(); ++g) {
    const auto& group = structure.factors[g];
    const auto layout = PotentialLayout::of(group, graph.all_potentials()[g].shape());
    local.resize(static_cast<std::size_t>(group.arity()));
    std::vector<std::int64_t> entries, targets;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t f = 0; f < group.factors(); ++f) {
        labels.states(group, f, r, local.data());
        for (std::int64_t i = 0; i < group.arity(); ++i) {
          const std::int64_t v = group.scopes[f * group.arity() + i];
          if (labels.observed(v)) continue;
          std::int64_t& state = local[static_cast<std::size_t>(i)];
          const std::int64_t label = state;
          for (state = 0; state < group.cardinalities[static_cast<std::size_t>(i)]; ++state) {
            const std::int64_t entry = group.entry(local.data());
            entries.push_back(entry < 0 ? -1 : r * layout.batch_stride + f * layout.factor_stride + entry);
            targets.push_back(r * states + structure.state_offset(v) + state);
          }
          state = label;
        }
      }
    scores = scores + spread_entries(sum_entries(graph.all_potentials()[g], column(entries)), column(targets),
                                     Shape{rows, states});
  }
  Var<T> total = Var<T>::zeros({rows});
  std::vector<std::int64_t> picked, picked_row;
  for (const auto& group : structure.variables) {
    std::vector<std::int64_t> entries, row;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t v = 0; v < group.size(); ++v) {
        if (labels.observed(group.first + v)) continue;
        entries.push_back(r * group.size() + v);
        row.push_back(r);
        picked.push_back(r * states + group.first_state + v * group.cardinality + labels.state(r, group.first + v));
        picked_row.push_back(r);
      }
    const Var<T> own =
        reshape(slice(scores, 1, {group.first_state, group.first_state + group.size() * group.cardinality}),
                Shape{rows, group.size(), group.cardinality});
    total = total + sum_by_row(logsumexp(own, {2}), entries, row, rows);
  }
  return total - sum_by_row(scores, picked, picked_row, rows);
}

namespace {

/// The logarithm of the number of states, agreeing with evidence, to which each of a factor's potentials applies.
template <class T>
std::vector<double> log_multiplicities(const FactorStructure& group, const Labelling<T>& labels, std::int64_t f) {
  const std::int64_t entries = group.table().elements(), arity = group.arity();
  std::vector<double> out(static_cast<std::size_t>(entries), minus_infinity);
  const std::int64_t* scope = group.scopes.data() + f * arity;
  if (group.kind != FactorKind::table) {
    std::vector<double> cavities(static_cast<std::size_t>(2 * arity), 0.0), messages(cavities.size()), only(out.size());
    for (std::int64_t i = 0; i < arity; ++i)
      if (labels.observed(scope[i]))
        cavities[static_cast<std::size_t>(2 * i + 1 - labels.evidence(scope[i]))] = minus_infinity;
    StructuredFactor factor(group.kind, arity, 1);
    for (std::size_t e = 0; e < out.size(); ++e) {
      std::fill(only.begin(), only.end(), minus_infinity);
      only[e] = 0;
      out[e] = factor.forward(only.data(), cavities.data(), messages.data());
    }
    return out;
  }
  std::vector<std::int64_t> states;
  for_each_entry(group, states, [&](std::int64_t entry) {
    bool agrees = true;
    for (std::int64_t i = 0; i < arity; ++i)
      agrees =
          agrees && (!labels.observed(scope[i]) || labels.evidence(scope[i]) == states[static_cast<std::size_t>(i)]);
    if (agrees) out[static_cast<std::size_t>(entry)] = 0;
  });
  return out;
}

}  // namespace

template <class T>
Var<T> piecewise_log_partition(const FactorGraph<T>& graph, const Labelling<T>& labels) {
  Var<T> total = Var<T>::zeros({1});
  for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
    const auto& group = graph.factor_groups()[g];
    const auto& potentials = graph.all_potentials()[g];
    const auto layout = PotentialLayout::of(group, potentials.shape());
    const std::int64_t factors = group.factors(), entries = layout.entries;
    bool seen = false;
    for (std::int64_t i = 0; i < group.scopes.size(); ++i) seen = seen || labels.observed(group.scopes[i]);
    const bool shared = layout.factor_stride == 0;
    Var<T> x = reshape(potentials, Shape{std::max<std::int64_t>(layout.batch, 1), shared ? 1 : factors, entries});
    if (seen || group.kind != FactorKind::table) {
      const std::int64_t count = seen ? factors : std::min<std::int64_t>(factors, 1);
      Tensor<T> numbers = empty_tensor<T>({count, entries});
      for (std::int64_t f = 0; f < count; ++f) {
        const auto one = log_multiplicities(group, labels, f);
        std::copy(one.begin(), one.end(), numbers.data() + f * entries);
      }
      x = x + Var<T>(std::move(numbers));
    }
    const Var<T> normalizers = sum(logsumexp(x, {2}), {1});
    total = total + (shared && !seen ? normalizers * static_cast<T>(factors) : normalizers);
  }
  return total;
}

#define TAPESTRY_INSTANTIATE(T)                                                           \
  template Var<T> negative_pseudo_likelihood(const FactorGraph<T>&, const Labelling<T>&); \
  template Var<T> piecewise_log_partition(const FactorGraph<T>&, const Labelling<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
