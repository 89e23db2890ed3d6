#include <algorithm>
#include <deque>
#include <numeric>

#include <metis.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/cluster_mean_field.hpp>

namespace tapestry::detail {
namespace {

std::vector<std::vector<std::int64_t>> neighbours_of(std::int64_t variables,
                                                     const std::vector<std::vector<std::int64_t>>& scopes) {
  std::vector<std::vector<std::int64_t>> out(static_cast<std::size_t>(variables));
  for (const auto& scope : scopes)
    for (const std::int64_t a : scope)
      for (const std::int64_t b : scope)
        if (a != b) out[static_cast<std::size_t>(a)].push_back(b);
  for (auto& list : out) {
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  return out;
}

}  // namespace

std::vector<std::vector<std::int64_t>> members_of(const std::vector<std::int64_t>& cluster) {
  std::vector<std::vector<std::int64_t>> out;
  for (std::size_t v = 0; v < cluster.size(); ++v) {
    const auto c = static_cast<std::size_t>(cluster[v]);
    if (c >= out.size()) out.resize(c + 1);
    out[c].push_back(static_cast<std::int64_t>(v));
  }
  return out;
}

std::vector<std::int64_t> single_clusters(std::int64_t variables) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(variables));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

std::vector<std::int64_t> tree_clusters(std::int64_t variables, const std::vector<std::vector<std::int64_t>>& scopes) {
  const auto neighbours = neighbours_of(variables, scopes);
  std::vector<std::int64_t> cluster(static_cast<std::size_t>(variables), -1);
  std::int64_t clusters = 0;
  for (std::int64_t root = 0; root < variables; ++root) {
    if (cluster[static_cast<std::size_t>(root)] >= 0) continue;
    // Depth first, so that clusters are long: a variable joins that has one neighbour inside.
    std::vector<std::int64_t> stack = {root};
    while (!stack.empty()) {
      const std::int64_t v = stack.back();
      stack.pop_back();
      if (cluster[static_cast<std::size_t>(v)] >= 0) continue;
      std::int64_t inside = 0;
      for (const std::int64_t u : neighbours[static_cast<std::size_t>(v)])
        inside += cluster[static_cast<std::size_t>(u)] == clusters;
      if (inside > 1) continue;
      cluster[static_cast<std::size_t>(v)] = clusters;
      for (auto u = neighbours[static_cast<std::size_t>(v)].rbegin();
           u != neighbours[static_cast<std::size_t>(v)].rend(); ++u)
        if (cluster[static_cast<std::size_t>(*u)] < 0) stack.push_back(*u);
    }
    ++clusters;
  }
  return cluster;
}

namespace {

/// METIS' parts, numbered from 0 without gaps.
std::vector<std::int64_t> partition(std::int64_t variables, const std::vector<std::vector<std::int64_t>>& scopes,
                                    std::int64_t wanted) {
  if (wanted <= 1) return std::vector<std::int64_t>(static_cast<std::size_t>(variables), 0);
  if (wanted == variables) return single_clusters(variables);
  const auto neighbours = neighbours_of(variables, scopes);
  std::vector<idx_t> first = {0}, edges;
  for (const auto& list : neighbours) {
    for (const std::int64_t u : list) edges.push_back(static_cast<idx_t>(u));
    first.push_back(static_cast<idx_t>(edges.size()));
  }
  idx_t vertices = static_cast<idx_t>(variables), constraints = 1, parts = static_cast<idx_t>(wanted), cut = 0;
  idx_t settings[METIS_NOPTIONS];
  METIS_SetDefaultOptions(settings);
  settings[METIS_OPTION_SEED] = 1;
  std::vector<idx_t> part(static_cast<std::size_t>(variables));
  if (METIS_PartGraphKway(&vertices, &constraints, first.data(), edges.data(), nullptr, nullptr, nullptr, &parts,
                          nullptr, nullptr, settings, &cut, part.data()) != METIS_OK)
    fail<Error>("mean_field", "METIS could not partition a graph of ", variables, " variables");
  // Parts that stayed empty leave no gaps.
  std::vector<std::int64_t> number(static_cast<std::size_t>(wanted), -1), out;
  std::int64_t used = 0;
  for (const idx_t p : part) {
    auto& n = number[static_cast<std::size_t>(p)];
    if (n < 0) n = used++;
    out.push_back(n);
  }
  return out;
}

/// Whether a clique tree over a cluster, with what it sees of the factors, stays within the limit.
bool fits(const std::vector<std::int64_t>& members, const std::vector<std::int64_t>& cardinalities,
          const std::vector<std::vector<std::int64_t>>& scopes, const std::vector<std::vector<std::size_t>>& factors_of,
          double memory_limit) {
  std::vector<std::int64_t> local(cardinalities.size(), -1), states;
  double all = 1;
  for (const std::int64_t v : members) {
    local[static_cast<std::size_t>(v)] = static_cast<std::int64_t>(states.size());
    states.push_back(cardinalities[static_cast<std::size_t>(v)]);
    all *= static_cast<double>(states.back());
  }
  std::vector<std::size_t> touching;
  for (const std::int64_t v : members) {
    const auto& own = factors_of[static_cast<std::size_t>(v)];
    touching.insert(touching.end(), own.begin(), own.end());
  }
  std::sort(touching.begin(), touching.end());
  touching.erase(std::unique(touching.begin(), touching.end()), touching.end());
  // Even one table over all variables, and each factor as large, would be small.
  if (8 * all * static_cast<double>(touching.size() + 8) < memory_limit) return true;
  std::vector<std::vector<std::int64_t>> parts;
  for (const std::size_t f : touching) {
    parts.emplace_back();
    for (const std::int64_t v : scopes[f])
      if (local[static_cast<std::size_t>(v)] >= 0) parts.back().push_back(local[static_cast<std::size_t>(v)]);
  }
  try {
    CliqueTreeOptions options;
    options.memory_limit = memory_limit;
    const CliqueTree tree(std::move(states), std::move(parts), {}, options);
    return true;
  } catch (const NumericalError&) {
    return false;
  }
}

}  // namespace

std::vector<std::int64_t> partition_clusters(const std::vector<std::int64_t>& cardinalities,
                                             const std::vector<std::vector<std::int64_t>>& scopes, std::int64_t size,
                                             double memory_limit) {
  if (size < 1) fail<NumericalError>("mean_field", "clusters of ", size, " variables");
  const auto variables = static_cast<std::int64_t>(cardinalities.size());
  auto cluster = partition(variables, scopes, (variables + size - 1) / size);
  auto members = members_of(cluster);
  std::vector<std::vector<std::size_t>> factors_of(cardinalities.size());
  for (std::size_t f = 0; f < scopes.size(); ++f)
    for (const std::int64_t v : scopes[f]) factors_of[static_cast<std::size_t>(v)].push_back(f);
  for (std::size_t c = 0; c < members.size(); ++c)
    while (members[c].size() > 1 && !fits(members[c], cardinalities, scopes, factors_of, memory_limit)) {
      const auto half = members[c].begin() + static_cast<std::ptrdiff_t>(members[c].size() / 2);
      for (auto v = half; v != members[c].end(); ++v)
        cluster[static_cast<std::size_t>(*v)] = static_cast<std::int64_t>(members.size());
      std::vector<std::int64_t> rest(half, members[c].end());
      members[c].erase(half, members[c].end());
      members.push_back(std::move(rest));
    }
  return cluster;
}

}  // namespace tapestry::detail
