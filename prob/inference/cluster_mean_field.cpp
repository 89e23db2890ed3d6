#include <tapestry/prob/inference/cluster_mean_field.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {

ClusterMeanField::ClusterMeanField(const std::vector<std::int64_t>& cardinalities,
                                   std::vector<std::vector<std::int64_t>> scopes, std::vector<const double*> tables,
                                   const Evidence& evidence, const std::vector<std::int64_t>& cluster,
                                   const CliqueTreeOptions& options)
    : cardinalities_(cardinalities) {
  if (cluster.size() != cardinalities.size())
    fail<ShapeError>("mean_field", cluster.size(), " cluster numbers for ", cardinalities.size(), " variables");
  std::int64_t count = 0;
  for (const std::int64_t c : cluster) {
    if (c < 0 || c > static_cast<std::int64_t>(cluster.size()))
      fail<IndexError>("mean_field", "a cluster has number ", c);
    count = std::max(count, c + 1);
  }
  clusters_.resize(static_cast<std::size_t>(count));
  std::vector<std::int64_t> local(cardinalities.size());
  for (std::size_t v = 0; v < cluster.size(); ++v) {
    auto& own = clusters_[static_cast<std::size_t>(cluster[v])].variables;
    local[v] = static_cast<std::int64_t>(own.size());
    own.push_back(static_cast<std::int64_t>(v));
  }
  std::vector<std::vector<std::vector<std::int64_t>>> local_scopes(clusters_.size());
  for (std::size_t f = 0; f < scopes.size(); ++f) {
    Factor factor{tables[f], {}, {}, 1};
    for (std::size_t i = 0; i < scopes[f].size(); ++i) {
      const auto v = static_cast<std::size_t>(scopes[f][i]);
      factor.cardinalities.push_back(cardinalities[v]);
      factor.size *= static_cast<std::size_t>(cardinalities[v]);
      const auto c = static_cast<std::int32_t>(cluster[v]);
      auto part = std::find_if(factor.parts.begin(), factor.parts.end(), [&](const Part& p) { return p.cluster == c; });
      if (part == factor.parts.end()) part = factor.parts.insert(part, Part{c, 0, {}, {}, {}});
      part->axes.push_back(i);
      part->variables.push_back(scopes[f][i]);
    }
    for (std::size_t p = 0; p < factor.parts.size(); ++p) {
      auto& part = factor.parts[p];
      auto& own = clusters_[static_cast<std::size_t>(part.cluster)];
      part.place = static_cast<std::int32_t>(own.factors.size());
      own.factors.push_back({static_cast<std::int32_t>(f), static_cast<std::int32_t>(p)});
      auto& scope = local_scopes[static_cast<std::size_t>(part.cluster)].emplace_back();
      std::size_t size = 1;
      for (const std::size_t axis : part.axes) {
        scope.push_back(local[static_cast<std::size_t>(scopes[f][axis])]);
        size *= static_cast<std::size_t>(factor.cardinalities[axis]);
      }
      part.probabilities.resize(size);
    }
    factors_.push_back(std::move(factor));
  }
  std::vector<std::vector<std::int64_t>> observed(clusters_.size());
  for (const auto& [variable, state] : evidence) {
    const auto c = static_cast<std::size_t>(cluster[static_cast<std::size_t>(variable)]);
    observed[c].push_back(local[static_cast<std::size_t>(variable)]);
    clusters_[c].states.push_back(state);
  }
  for (std::size_t c = 0; c < clusters_.size(); ++c) {
    auto& own = clusters_[c];
    if (own.variables.size() == 1) continue;
    std::vector<std::int64_t> states;
    for (const std::int64_t v : own.variables) states.push_back(cardinalities[static_cast<std::size_t>(v)]);
    own.tree.emplace(std::move(states), std::move(local_scopes[c]), observed[c], options);
  }
  start();
}

void ClusterMeanField::sum_out(const Factor& factor, std::size_t except, double* out) const {
  const double* from = factor.table;
  std::size_t size = factor.size;
  std::vector<double> held;
  const auto sum = [&](std::size_t axis, bool innermost) {
    const auto states = static_cast<std::size_t>(factor.cardinalities[axis]);
    const double* weights = factor.parts[axis].probabilities.data();
    size /= states;
    if (held.empty()) held.resize(size);
    const std::size_t row = innermost ? states : 1, step = innermost ? 1 : size;
    for (std::size_t i = 0; i < size; ++i) {
      double total = 0;
      for (std::size_t k = 0; k < states; ++k)
        if (weights[k] > 0) total += weights[k] * from[i * row + k * step];
      held[i] = total;
    }
    from = held.data();
  };
  for (std::size_t axis = factor.parts.size() - 1; axis > except; --axis) sum(axis, true);
  for (std::size_t axis = 0; axis < except; ++axis) sum(axis, false);
  std::copy(from, from + size, out);
}

void ClusterMeanField::expect(const Factor& factor, std::size_t except, double* out) const {
  std::fill(out, out + factor.parts[except].probabilities.size(), 0.0);
  if (factor.cardinalities.size() == 2) {
    const auto rows = static_cast<std::size_t>(factor.cardinalities[0]),
               columns = static_cast<std::size_t>(factor.cardinalities[1]);
    const double* weights = factor.parts[1 - except].probabilities.data();
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < columns; ++c) {
        const double weight = weights[except == 0 ? c : r];
        if (weight > 0) out[except == 0 ? r : c] += weight * factor.table[r * columns + c];
      }
    return;
  }
  if (factor.parts.size() == factor.cardinalities.size()) return sum_out(factor, except, out);
  for_each(factor, [&](std::size_t entry, const auto& place) {
    double weight = 1;
    for (std::size_t p = 0; p < place.size(); ++p)
      if (p != except) weight *= factor.parts[p].probabilities[place[p]];
    if (weight > 0) out[place[except]] += weight * factor.table[entry];
  });
}

void ClusterMeanField::start(const std::vector<std::int64_t>* assignment) {
  for (auto& own : clusters_) {
    own.marginals.clear();
    own.entropy = 0;
    for (const std::int64_t v : own.variables) {
      const std::int64_t k = cardinalities_[static_cast<std::size_t>(v)];
      for (std::int64_t s = 0; s < k; ++s)
        own.marginals.push_back(assignment ? ((*assignment)[static_cast<std::size_t>(v)] == s ? 1.0 : 0.0)
                                           : 1.0 / static_cast<double>(k));
      if (!assignment) own.entropy += std::log(static_cast<double>(k));
    }
  }
  for (auto& factor : factors_)
    for (auto& part : factor.parts) {
      const auto size = static_cast<double>(part.probabilities.size());
      std::fill(part.probabilities.begin(), part.probabilities.end(), assignment ? 0.0 : 1 / size);
      if (!assignment) continue;
      std::size_t entry = 0;
      for (const std::int64_t v : part.variables)
        entry = entry * static_cast<std::size_t>(cardinalities_[static_cast<std::size_t>(v)]) +
                static_cast<std::size_t>((*assignment)[static_cast<std::size_t>(v)]);
      part.probabilities[entry] = 1;
    }
}

std::vector<const double*> ClusterMeanField::expect_all(const Cluster& own,
                                                        std::vector<std::vector<double>>& scratch) const {
  if (scratch.size() < own.factors.size()) scratch.resize(own.factors.size());
  std::vector<const double*> out;
  out.reserve(own.factors.size());
  for (const auto& [f, p] : own.factors) {
    const auto& factor = factors_[static_cast<std::size_t>(f)];
    auto& table = scratch[out.size()];
    if (factor.parts.size() > 1) {
      table.resize(factor.parts[static_cast<std::size_t>(p)].probabilities.size());
      expect(factor, static_cast<std::size_t>(p), table.data());
    }
    out.push_back(factor.parts.size() > 1 ? table.data() : factor.table);
  }
  return out;
}

void ClusterMeanField::solve(const Cluster& own, const std::vector<const double*>& tables, ExactSums& out) const {
  if (own.variables.size() != 1) {
    out = own.tree->sums(tables, TableScale::logarithm, own.states, true, true);
    return;
  }
  // Of one variable: what all its factors say.
  constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
  const auto states = static_cast<std::size_t>(cardinalities_[static_cast<std::size_t>(own.variables[0])]);
  auto& p = out.variables;
  p.assign(states, own.states.empty() ? 0 : minus_infinity);
  if (!own.states.empty()) p[static_cast<std::size_t>(own.states[0])] = 0;
  for (const double* table : tables)
    for (std::size_t s = 0; s < states; ++s) p[s] += table[s];
  const double largest = *std::max_element(p.begin(), p.end());
  out.possible = largest != minus_infinity;
  if (!out.possible) return;
  double total = 0;
  for (double& x : p) total += x = std::exp(x - largest);
  for (double& x : p) x /= total;
  out.log_partition = largest + std::log(total);
  out.factors.clear();
  for (std::size_t i = 0; i < tables.size(); ++i) out.factors.insert(out.factors.end(), p.begin(), p.end());
}

double ClusterMeanField::sweep(Replaced* replaced) {
  double change = 0;
  std::vector<std::vector<double>> tables;
  ExactSums sums;
  if (replaced != nullptr) *replaced = Replaced();
  for (auto& own : clusters_) {
    const auto pointers = expect_all(own, tables);
    solve(own, pointers, sums);
    // No state of this cluster goes with all that the others still allow: it waits for them to change.
    if (replaced != nullptr) replaced->clusters.push_back(sums.possible);
    if (!sums.possible) continue;
    own.entropy = sums.log_partition;
    const double* from = sums.factors.data();
    for (std::size_t i = 0; i < own.factors.size(); ++i) {
      auto& part = factors_[static_cast<std::size_t>(own.factors[i].first)]
                       .parts[static_cast<std::size_t>(own.factors[i].second)];
      if (replaced != nullptr)
        replaced->probabilities.insert(replaced->probabilities.end(), part.probabilities.begin(),
                                       part.probabilities.end());
      for (std::size_t e = 0; e < part.probabilities.size(); ++e) {
        part.probabilities[e] = from[e];
        if (from[e] > 0) own.entropy -= from[e] * pointers[i][e];
      }
      from += part.probabilities.size();
    }
    for (std::size_t s = 0; s < own.marginals.size(); ++s)
      change = std::max(change, std::abs(own.marginals[s] - sums.variables[s]));
    own.marginals = sums.variables;
  }
  return change;
}

double ClusterMeanField::bound() const {
  double total = 0;
  for (const auto& own : clusters_) total += own.entropy;
  std::vector<double> given;
  for (const auto& factor : factors_) {
    if (factor.parts.empty()) {
      total += factor.table[0];
      continue;
    }
    const auto& first = factor.parts[0].probabilities;
    const double* terms = factor.table;
    if (factor.parts.size() > 1) {
      given.resize(first.size());
      expect(factor, 0, given.data());
      terms = given.data();
    }
    for (std::size_t e = 0; e < first.size(); ++e)
      if (first[e] > 0) total += first[e] * terms[e];
  }
  return total;
}

std::vector<double> ClusterMeanField::variables() const {
  std::vector<std::size_t> offset(cardinalities_.size() + 1, 0);
  for (std::size_t v = 0; v < cardinalities_.size(); ++v)
    offset[v + 1] = offset[v] + static_cast<std::size_t>(cardinalities_[v]);
  std::vector<double> out(offset.back());
  for (const auto& own : clusters_) {
    auto from = own.marginals.begin();
    for (const std::int64_t v : own.variables) {
      const std::int64_t k = cardinalities_[static_cast<std::size_t>(v)];
      std::copy(from, from + k, out.begin() + static_cast<std::ptrdiff_t>(offset[static_cast<std::size_t>(v)]));
      from += k;
    }
  }
  return out;
}

void ClusterMeanField::factor(std::size_t f, double* out) const {
  for_each(factors_[f], [&](std::size_t entry, const auto& place) {
    out[entry] = 1;
    for (std::size_t p = 0; p < place.size(); ++p) out[entry] *= factors_[f].parts[p].probabilities[place[p]];
  });
}

}  // namespace tapestry::detail
