#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include <tapestry/prob/factor_graph.hpp>

#include "prob/normal_numbers.hpp"

namespace testing_models {

/// What no computation may read.
inline double garbage(std::int64_t i) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return i % 3 == 0 ? std::numeric_limits<double>::quiet_NaN() : i % 3 == 1 ? infinity : -infinity;
}

inline std::vector<tapestry::Var<double>> normal_variables(std::initializer_list<tapestry::Shape> shapes,
                                                           double spread = 1, std::uint64_t seed = 70) {
  std::vector<tapestry::Var<double>> out;
  for (const auto& shape : shapes) out.emplace_back(normal_numbers(shape, ++seed, spread), true);
  return out;
}

inline tapestry::IndexTensor index_tensor(const tapestry::Shape& shape, const std::vector<std::int64_t>& values) {
  auto out = tapestry::empty_tensor<std::int64_t>(shape);
  std::copy(values.begin(), values.end(), out.data());
  return out;
}

/// All assignments that agree with the evidence.
inline std::vector<std::vector<std::int64_t>> all_assignments(const tapestry::FactorGraph<double>& graph) {
  std::vector<std::vector<std::int64_t>> out;
  std::vector<std::int64_t> states(static_cast<std::size_t>(graph.variables()), 0), seen(states.size(), -1);
  for (const auto& [variable, state] : graph.evidence()) seen[static_cast<std::size_t>(variable)] = state;
  while (true) {
    bool agrees = true;
    for (std::size_t v = 0; v < seen.size(); ++v) agrees = agrees && (seen[v] < 0 || seen[v] == states[v]);
    if (agrees) out.push_back(states);
    std::size_t v = states.size();
    while (v > 0 && ++states[v - 1] == graph.cardinality(static_cast<std::int64_t>(v - 1))) states[--v] = 0;
    if (v == 0) return out;
  }
}

/// The scores of assignments of one batch element, by plain loops.
inline double plain_score(const tapestry::FactorGraph<double>& graph, const std::vector<std::int64_t>& states,
                          std::int64_t batch = 0) {
  double total = 0;
  for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
    const auto& group = graph.factor_groups()[g];
    const auto& x = graph.all_potentials()[g];
    const auto layout = tapestry::PotentialLayout::of(group, x.shape());
    std::vector<std::int64_t> local(static_cast<std::size_t>(group.arity()));
    for (std::int64_t f = 0; f < group.factors(); ++f) {
      for (std::int64_t i = 0; i < group.arity(); ++i)
        local[static_cast<std::size_t>(i)] = states[static_cast<std::size_t>(group.scopes[f * group.arity() + i])];
      const std::int64_t entry = group.entry(local.data());
      total += entry < 0 ? -std::numeric_limits<double>::infinity()
                         : x.data()[batch * layout.batch_stride + f * layout.factor_stride + entry];
    }
  }
  return total;
}

inline double log_sum(const std::vector<double>& x) {
  const double largest = *std::max_element(x.begin(), x.end());
  if (std::isinf(largest)) return largest;
  double total = 0;
  for (const double one : x) total += std::exp(one - largest);
  return largest + std::log(total);
}

}  // namespace testing_models
