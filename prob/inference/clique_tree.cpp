#include <tapestry/prob/inference/clique_tree.hpp>

#include <algorithm>
#include <numeric>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {

using detail::TableScope;

CliqueTree::CliqueTree(std::vector<std::int64_t> cardinalities, std::vector<std::vector<std::int64_t>> scopes,
                       const std::vector<std::int64_t>& observed, const CliqueTreeOptions& options)
    : cardinalities_(std::move(cardinalities)),
      observed_(observed),
      observation_(cardinalities_.size(), -1),
      memory_limit_(options.memory_limit) {
  constexpr auto name = "junction_tree";
  const auto variables = static_cast<std::int64_t>(cardinalities_.size());
  for (std::int64_t v = 0; v < variables; ++v) {
    if (cardinalities_[static_cast<std::size_t>(v)] < 1)
      fail<ShapeError>(name, "variable ", v, " has ", cardinalities_[static_cast<std::size_t>(v)], " states");
    if (cardinalities_[static_cast<std::size_t>(v)] == 1) observation_[static_cast<std::size_t>(v)] = -2;
  }
  for (std::size_t i = 0; i < observed_.size(); ++i) {
    if (observed_[i] < 0 || observed_[i] >= variables)
      fail<IndexError>(name, "observed variable ", observed_[i], " of ", variables);
    observation_[static_cast<std::size_t>(observed_[i])] = static_cast<std::int32_t>(i);
  }

  // The search sees the free variables only, under their own numbers.
  std::vector<std::int64_t> number(cardinalities_.size(), -1), free_variables, free_cardinalities;
  for (std::int64_t v = 0; v < variables; ++v)
    if (observation_[static_cast<std::size_t>(v)] == -1) {
      number[static_cast<std::size_t>(v)] = static_cast<std::int64_t>(free_variables.size());
      free_variables.push_back(v);
      free_cardinalities.push_back(cardinalities_[static_cast<std::size_t>(v)]);
    }
  std::vector<std::vector<std::int64_t>> free_scopes;
  for (std::size_t f = 0; f < scopes.size(); ++f) {
    free_scopes.emplace_back();
    for (const std::int64_t v : scopes[f]) {
      if (v < 0 || v >= variables) fail<IndexError>(name, "factor ", f, " names variable ", v, " of ", variables);
      if (number[static_cast<std::size_t>(v)] >= 0) free_scopes.back().push_back(number[static_cast<std::size_t>(v)]);
    }
  }
  const EliminationOrder order = elimination_order(free_cardinalities, free_scopes, options.order);
  width_ = order.width;
  const auto refuse = [&](bool at_least) {
    fail<NumericalError>(name, "the model needs ", at_least ? "at least " : "", "width ", width_, " and ", bytes_,
                         " bytes, beyond the limit of ", options.memory_limit, " bytes");
  };
  if (!order.complete) {
    bytes_ = 8 * order.entries;
    refuse(true);
  }

  std::vector<std::int32_t> position(cardinalities_.size(), -1);
  for (const std::int64_t v : order.order) {
    const std::int64_t variable = free_variables[static_cast<std::size_t>(v)];
    position[static_cast<std::size_t>(variable)] = static_cast<std::int32_t>(variable_at_.size());
    variable_at_.push_back(variable);
    position_states_.push_back(static_cast<std::size_t>(cardinalities_[static_cast<std::size_t>(variable)]));
  }
  EliminationOrder positions;
  for (const auto& neighbours : order.neighbours) {
    positions.neighbours.emplace_back();
    for (const std::int64_t u : neighbours)
      positions.neighbours.back().push_back(
          position[static_cast<std::size_t>(free_variables[static_cast<std::size_t>(u)])]);
    std::sort(positions.neighbours.back().begin(), positions.neighbours.back().end());
  }
  build(positions);

  plan_memory(scopes, position, options);
  if (bytes_ > options.memory_limit) refuse(false);

  for (auto& clique : cliques_) {
    clique.size = size_of_scope(clique.scope);
    clique.separator_size = size_of_scope(clique.separator);
    clique.separator_offset = separator_entries_;
    separator_entries_ += clique.separator_size;
    largest_ = std::max(largest_, clique.size);
  }
  variable_offset_.push_back(0);
  for (const std::int64_t k : cardinalities_)
    variable_offset_.push_back(variable_offset_.back() + static_cast<std::size_t>(k));

  for (const auto& scope : scopes) {
    Factor factor;
    factor.offset = factor_entries_;
    factor.whole_offset = whole_entries_;
    std::vector<std::pair<std::int32_t, std::size_t>> axes;
    std::size_t stride = 1;
    for (std::size_t i = scope.size(); i-- > 0;) {
      const auto v = static_cast<std::size_t>(scope[i]);
      if (observation_[v] >= 0) factor.observed.push_back({observation_[v], stride});
      if (observation_[v] == -1) axes.push_back({position[v], stride});
      stride *= static_cast<std::size_t>(cardinalities_[v]);
    }
    std::sort(axes.begin(), axes.end());
    for (std::size_t i = 0; i < axes.size(); ++i) {
      if (i > 0 && axes[i].first == axes[i - 1].first)
        fail<IndexError>(name, "a factor names variable ", variable_at_[static_cast<std::size_t>(axes[i].first)],
                         " twice");
      factor.scope.push_back(axes[i].first);
      factor.strides.push_back(axes[i].second);
    }
    factor.size = size_of_scope(factor.scope);
    factor.whole = stride;
    factor_entries_ += factor.size;
    whole_entries_ += factor.whole;
    factors_.push_back(std::move(factor));
  }
  place_factors();
}

/// In floating point: nothing of this size is known to be possible yet.
void CliqueTree::plan_memory(const std::vector<std::vector<std::int64_t>>& scopes,
                             const std::vector<std::int32_t>& position, const CliqueTreeOptions& options) {
  const auto states = [&](std::int32_t p) {
    return static_cast<double>(position_states_[static_cast<std::size_t>(p)]);
  };
  double separators = 0, largest = 1, blocks = 0, largest_separator = 1, best = 1, slices = 0;
  std::vector<double> separator_size(cliques_.size(), 1), parts(cliques_.size(), 0);
  for (std::size_t c = 0; c < cliques_.size(); ++c) {
    const auto& clique = cliques_[c];
    double size = 1;
    std::vector<std::size_t> sizes;
    for (const std::int32_t p : clique.scope) {
      sizes.push_back(position_states_[static_cast<std::size_t>(p)]);
      size *= states(p);
    }
    for (const std::int32_t p : clique.separator) separator_size[c] *= states(p);
    blocks = std::max(blocks, detail::TableProduct::scratch(sizes));
    entries_ += size;
    separators += separator_size[c];
    largest = std::max(largest, size);
    largest_separator = std::max(largest_separator, separator_size[c]);
    best = std::max(best, size / separator_size[c]);
    if (clique.parent >= 0) parts[static_cast<std::size_t>(clique.parent)] += separator_size[c];
  }
  double factors = 0, whole_factors = 0, largest_factor = 1, marginals = 0;
  for (const auto& scope : scopes) {
    double whole = 1, size = 1;
    std::int32_t first = -1;
    for (const std::int64_t v : scope) {
      const auto k = static_cast<double>(cardinalities_[static_cast<std::size_t>(v)]);
      whole *= k;
      const std::int32_t p = position[static_cast<std::size_t>(v)];
      if (p < 0) continue;
      size *= k;
      first = first < 0 ? p : std::min(first, p);
    }
    factors += size;
    whole_factors += whole;
    largest_factor = std::max(largest_factor, size);
    if (first >= 0) parts[static_cast<std::size_t>(home_[static_cast<std::size_t>(first)])] += size;
  }
  for (const std::int64_t k : cardinalities_) marginals += static_cast<double>(k);
  // Of what a clique's product is made of, what its separator's states leave is at most half.
  for (std::size_t c = 0; c < cliques_.size(); ++c)
    if (!cliques_[c].separator.empty()) slices = std::max(slices, parts[c] / 2);

  // Messages and factors; on the way back marginals of separators and one's ratio of both.
  const double common = separators + factors + blocks;
  const bool back = options.marginals || options.factor_marginals;
  const double sums = common + (back ? separators + largest_separator + marginals : 0) +
                      (options.factor_marginals ? factors + whole_factors : 0);
  const double maximum = common + best + slices;
  // A clique's table, two of the differences from maxima, these, and a sum on the way to several.
  const double joint = back ? largest / 8 + 1 : 0;
  const double logarithms =
      3 * largest + joint + std::max({largest_separator, options.factor_marginals ? largest_factor : 1, joint});
  bytes_ = 8 * std::max(options.log_partition || back ? sums + (options.any_range ? logarithms : 0) : 0,
                        options.maximum ? maximum : 0);
  logarithm_bytes_ = std::max(bytes_, 8 * (sums + logarithms));
}

std::size_t CliqueTree::size_of_scope(const TableScope& scope) const {
  std::size_t size = 1;
  for (const std::int32_t v : scope) size *= position_states_[static_cast<std::size_t>(v)];
  return size;
}

void CliqueTree::build(const EliminationOrder& order) {
  const std::size_t n = order.neighbours.size();
  // keeper[i]: the elimination clique that holds clique i's variables and stays. A clique that is its child's
  // neighbours and no more is absorbed by the child.
  std::vector<std::int32_t> keeper(n), parent(n, -1);
  std::iota(keeper.begin(), keeper.end(), 0);
  for (std::size_t i = 0; i < n; ++i) {
    const auto& neighbours = order.neighbours[i];
    if (neighbours.empty()) continue;
    const auto p = static_cast<std::size_t>(neighbours.front());
    parent[i] = static_cast<std::int32_t>(p);
    if (keeper[p] == static_cast<std::int32_t>(p) && order.neighbours[p].size() + 1 == neighbours.size())
      keeper[p] = keeper[i];
  }
  std::vector<std::int32_t> above(n, -1);  // between keepers
  std::vector<std::vector<std::int32_t>> below(n);
  std::vector<std::int32_t> sequence;
  for (std::size_t i = 0; i < n; ++i) {
    if (parent[i] < 0) {
      sequence.push_back(keeper[i]);
      continue;
    }
    const std::int32_t own = keeper[i], up = keeper[static_cast<std::size_t>(parent[i])];
    if (own == up) continue;
    above[static_cast<std::size_t>(own)] = up;
    below[static_cast<std::size_t>(up)].push_back(own);
  }
  for (std::size_t i = 0; i < sequence.size(); ++i)
    for (const std::int32_t child : below[static_cast<std::size_t>(sequence[i])]) sequence.push_back(child);
  std::reverse(sequence.begin(), sequence.end());
  std::vector<std::int32_t> place(n, -1);
  for (std::size_t i = 0; i < sequence.size(); ++i)
    place[static_cast<std::size_t>(sequence[i])] = static_cast<std::int32_t>(i);
  cliques_.resize(sequence.size());
  for (std::size_t i = 0; i < sequence.size(); ++i) {
    const auto k = static_cast<std::size_t>(sequence[i]);
    auto& clique = cliques_[i];
    clique.scope.push_back(static_cast<std::int32_t>(k));
    clique.scope.insert(clique.scope.end(), order.neighbours[k].begin(), order.neighbours[k].end());
    if (above[k] >= 0) clique.parent = place[static_cast<std::size_t>(above[k])];
  }
  for (std::size_t i = 0; i < cliques_.size(); ++i) {
    auto& clique = cliques_[i];
    if (clique.parent < 0) continue;
    auto& up = cliques_[static_cast<std::size_t>(clique.parent)];
    up.children.push_back(static_cast<std::int32_t>(i));
    std::set_intersection(clique.scope.begin(), clique.scope.end(), up.scope.begin(), up.scope.end(),
                          std::back_inserter(clique.separator));
  }
  home_.resize(n);
  for (std::size_t i = 0; i < n; ++i) home_[i] = place[static_cast<std::size_t>(keeper[i])];
}

void CliqueTree::place_factors() {
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    auto& factor = factors_[f];
    if (factor.scope.empty()) continue;
    // The first variable to be eliminated has all others of the factor among its neighbours.
    factor.clique = home_[static_cast<std::size_t>(factor.scope.front())];
    cliques_[static_cast<std::size_t>(factor.clique)].factors.push_back(static_cast<std::int32_t>(f));
  }
  std::vector<std::int32_t> smallest(home_.size(), -1);
  for (std::size_t c = 0; c < cliques_.size(); ++c)
    for (const std::int32_t v : cliques_[c].scope) {
      auto& best = smallest[static_cast<std::size_t>(v)];
      if (best < 0 || cliques_[c].size < cliques_[static_cast<std::size_t>(best)].size)
        best = static_cast<std::int32_t>(c);
    }
  for (std::size_t p = 0; p < smallest.size(); ++p)
    cliques_[static_cast<std::size_t>(smallest[p])].variables.push_back(static_cast<std::int32_t>(p));
}

std::vector<std::pair<double, double>> CliqueTree::clique_entries() const {
  std::vector<std::pair<double, double>> out;
  for (const auto& clique : cliques_)
    out.push_back({static_cast<double>(clique.size), static_cast<double>(clique.separator_size)});
  return out;
}

}  // namespace tapestry
