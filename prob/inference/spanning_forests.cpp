#include <tapestry/prob/inference/spanning_forests.hpp>

#include <algorithm>

namespace tapestry::detail {

namespace {

/// Fills sets of factors without cycles.
class Forests {
 public:
  explicit Forests(const GraphStructure& graph) : root_(static_cast<std::size_t>(graph.size())) {
    for (const auto& group : graph.factors)
      for (std::int64_t f = 0; f < group.factors(); ++f)
        scopes_.emplace_back(group.scopes.data() + f * group.arity(), group.scopes.data() + (f + 1) * group.arity());
  }
  std::size_t factors() const { return scopes_.size(); }
  /// Calls take(factor) for each that closes no cycle with those taken before.
  template <class Take>
  void fill(const std::vector<std::size_t>& order, Take take) {
    for (std::size_t v = 0; v < root_.size(); ++v) root_[v] = static_cast<std::int64_t>(v);
    for (const std::size_t f : order) {
      roots_.clear();
      for (const std::int64_t v : scopes_[f]) roots_.push_back(find(v));
      std::sort(roots_.begin(), roots_.end());
      if (std::adjacent_find(roots_.begin(), roots_.end()) != roots_.end()) continue;
      for (const std::int64_t r : roots_) root_[static_cast<std::size_t>(r)] = roots_.front();
      take(f);
    }
  }

  /// Joins the variables of all factors. root(v) is then the same for all that are connected.
  void connect() {
    for (std::size_t v = 0; v < root_.size(); ++v) root_[v] = static_cast<std::int64_t>(v);
    for (const auto& scope : scopes_)
      for (const std::int64_t v : scope) root_[static_cast<std::size_t>(find(v))] = find(scope.front());
  }
  std::size_t root(std::size_t v) { return static_cast<std::size_t>(find(static_cast<std::int64_t>(v))); }
  const std::vector<std::int64_t>& scope(std::size_t f) const { return scopes_[f]; }

 private:
  std::int64_t find(std::int64_t v) {
    while (root_[static_cast<std::size_t>(v)] != v)
      v = root_[static_cast<std::size_t>(v)] = root_[static_cast<std::size_t>(root_[static_cast<std::size_t>(v)])];
    return v;
  }
  std::vector<std::vector<std::int64_t>> scopes_;
  std::vector<std::int64_t> root_, roots_;
};

std::vector<std::size_t> numbers_to(std::size_t n) {
  std::vector<std::size_t> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = i;
  return out;
}

}  // namespace

bool may_be_forest_weights(const GraphStructure& graph, const std::vector<double>& weights) {
  constexpr double rounding = 1e-6;
  Forests forests(graph);
  forests.connect();
  // A set without cycles joins at most all but one of the variables of each part, arity - 1 by each factor.
  std::vector<double> joins(static_cast<std::size_t>(graph.size()), 0.0), most(joins.size(), 0.0);
  for (std::size_t v = 0; v < most.size(); ++v) most[forests.root(v)] += 1;
  for (std::size_t f = 0; f < forests.factors(); ++f) {
    const auto& scope = forests.scope(f);
    if (scope.size() < 2) continue;
    if (weights[f] > 1 + rounding) return false;
    joins[forests.root(static_cast<std::size_t>(scope.front()))] += weights[f] * static_cast<double>(scope.size() - 1);
  }
  for (std::size_t v = 0; v < joins.size(); ++v)
    if (most[v] > 0 && joins[v] > most[v] - 1 + rounding * most[v]) return false;
  return true;
}

std::vector<char> maximum_forest(const GraphStructure& graph, const std::vector<double>& gains) {
  Forests forests(graph);
  auto order = numbers_to(forests.factors());
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return gains[a] > gains[b]; });
  std::vector<char> out(forests.factors(), 0);
  forests.fill(order, [&](std::size_t f) { out[f] = 1; });
  return out;
}

std::vector<double> spanning_forest_weights(const GraphStructure& graph, int rounds, std::uint64_t seed) {
  Forests forests(graph);
  std::vector<double> count(forests.factors(), 0.0);
  auto order = numbers_to(forests.factors());
  std::uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  const auto random = [&](std::uint64_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
  };
  int done = 0;
  for (std::size_t missing = count.size(); done < rounds || missing > 0; ++done) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random(i)]);
    // Those that were never drawn come first: the loop ends, as each round takes at least one of them in.
    std::stable_partition(order.begin(), order.end(), [&](std::size_t f) { return count[f] == 0; });
    forests.fill(order, [&](std::size_t f) {
      missing -= count[f] == 0;
      count[f] += 1;
    });
  }
  for (double& c : count) c /= done;
  return count;
}

}  // namespace tapestry::detail
