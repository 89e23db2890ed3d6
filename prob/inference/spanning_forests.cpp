#include <tapestry/prob/inference/spanning_forests.hpp>

#include <algorithm>

namespace tapestry::detail {

std::vector<double> spanning_forest_weights(const GraphStructure& graph, int rounds, std::uint64_t seed) {
  std::vector<std::vector<std::int64_t>> scopes;
  for (const auto& group : graph.factors)
    for (std::int64_t f = 0; f < group.factors(); ++f)
      scopes.emplace_back(group.scopes.data() + f * group.arity(), group.scopes.data() + (f + 1) * group.arity());
  std::vector<double> count(scopes.size(), 0.0);
  std::vector<std::size_t> order(scopes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<std::int64_t> root(static_cast<std::size_t>(graph.size())), roots;
  const auto find = [&](std::int64_t v) {
    while (root[static_cast<std::size_t>(v)] != v)
      v = root[static_cast<std::size_t>(v)] = root[static_cast<std::size_t>(root[static_cast<std::size_t>(v)])];
    return v;
  };
  std::uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  const auto random = [&](std::uint64_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
  };
  int done = 0;
  for (std::size_t missing = scopes.size(); done < rounds || missing > 0; ++done) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random(i)]);
    // Those that were never drawn come first: the loop ends, as each round takes at least one of them in.
    std::stable_partition(order.begin(), order.end(), [&](std::size_t f) { return count[f] == 0; });
    for (std::size_t v = 0; v < root.size(); ++v) root[v] = static_cast<std::int64_t>(v);
    for (const std::size_t f : order) {
      roots.clear();
      for (const std::int64_t v : scopes[f]) roots.push_back(find(v));
      std::sort(roots.begin(), roots.end());
      if (std::adjacent_find(roots.begin(), roots.end()) != roots.end()) continue;
      for (const std::int64_t r : roots) root[static_cast<std::size_t>(r)] = roots.front();
      missing -= count[f] == 0;
      count[f] += 1;
    }
  }
  for (double& c : count) c /= done;
  return count;
}

}  // namespace tapestry::detail
