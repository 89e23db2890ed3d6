#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/prob/inference/cluster_mean_field.hpp>
#include <tapestry/prob/inference/gibbs_sampler.hpp>
#include <tapestry/prob/split.hpp>

// Many variables at once: by colours, and by trees.
namespace tapestry::detail {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
constexpr std::size_t variables_per_chunk = 256;

/// A number in [0, 1) for each pair (Steele, Lea, Flood 2014).
double uniform_of(std::uint64_t seed, std::uint64_t counter) {
  std::uint64_t x = seed + counter * 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  x ^= x >> 31;
  return static_cast<double>(x >> 11) * 0x1p-53;
}

/// Numbers as exponentials of their distance to the largest, which is returned.
double exponentiate(double* x, std::size_t n) {
  const double largest = *std::max_element(x, x + n);
  for (std::size_t i = 0; i < n; ++i) x[i] = largest == minus_infinity ? 0 : std::exp(x[i] - largest);
  return largest;
}

}  // namespace

void GibbsSampler::color() {
  std::vector<std::int32_t> color(state_.size(), -1);
  std::vector<std::size_t> taken;  // by which variable each colour was seen last
  for (std::size_t v = 0; v < state_.size(); ++v) {
    if (observed_[v]) continue;
    for (const auto& touch : around_[v])
      for (const std::int64_t u : scopes_[static_cast<std::size_t>(touch.factor)]) {
        const std::int32_t c = color[static_cast<std::size_t>(u)];
        if (c >= 0) taken[static_cast<std::size_t>(c)] = v + 1;
      }
    std::size_t c = 0;
    while (c < taken.size() && taken[c] == v + 1) ++c;
    if (c == taken.size()) {
      taken.push_back(0);
      colors_.emplace_back();
    }
    color[v] = static_cast<std::int32_t>(c);
    colors_[c].push_back(v);
  }
}

void GibbsSampler::chromatic_sweep(double* sums) {
  if (colors_.empty()) color();
  const auto seed = static_cast<std::uint64_t>(random_.integer(std::int64_t{1} << 62));
  for (const auto& members : colors_)
    split(members.size(), variables_per_chunk, [&](std::size_t begin, std::size_t end) {
      Conditional scratch = scratch_;
      for (std::size_t i = begin; i < end; ++i)
        state_[members[i]] = draw(members[i], uniform_of(seed, members[i]), scratch, sums);
    });
  for (std::size_t v = 0; v < state_.size() && sums != nullptr; ++v)
    if (observed_[v]) sums[offset_[v] + static_cast<std::size_t>(state_[v])] += 1;
}

void GibbsSampler::plant() {
  std::vector<std::vector<std::int64_t>> scopes;
  for (const auto& scope : scopes_) {
    scopes.emplace_back();
    for (const std::int64_t v : scope)
      if (!observed_[static_cast<std::size_t>(v)]) scopes.back().push_back(v);
  }
  const auto cluster = tree_clusters(static_cast<std::int64_t>(state_.size()), scopes);
  parent_.resize(state_.size());
  std::vector<char> seen(state_.size(), 0);
  for (std::size_t root = 0; root < state_.size(); ++root) {
    if (seen[root] || observed_[root]) continue;
    tree_begin_.push_back(planted_.size());
    std::size_t next = planted_.size();
    planted_.push_back(root);
    parent_[root] = root;
    seen[root] = 1;
    for (; next < planted_.size(); ++next) {
      const std::size_t v = planted_[next];
      for (const auto& touch : around_[v])
        for (const std::int64_t n : scopes[static_cast<std::size_t>(touch.factor)]) {
          const auto u = static_cast<std::size_t>(n);
          if (seen[u] || cluster[u] != cluster[v]) continue;
          seen[u] = 1;
          parent_[u] = v;
          planted_.push_back(u);
        }
    }
  }
  tree_begin_.push_back(planted_.size());
  tree_logs_.resize(offset_.back());
}

void GibbsSampler::draw_tree(std::size_t begin, std::size_t end, double* sums) {
  std::vector<double> own, pair;
  std::vector<double>& logs = tree_logs_;  // of each variable's own states, with what its children send
  for (std::size_t i = begin; i < end; ++i)
    std::fill(logs.begin() + static_cast<std::ptrdiff_t>(offset_[planted_[i]]),
              logs.begin() + static_cast<std::ptrdiff_t>(offset_[planted_[i] + 1]), 0.0);
  const auto pair_of = [&](std::size_t v, std::vector<double>& table) {
    const std::size_t p = parent_[v];
    const auto rows = static_cast<std::size_t>(cardinalities_[v]),
               columns = static_cast<std::size_t>(cardinalities_[p]);
    table.assign(rows * columns, 0.0);
    for (const auto& [f, stride] : around_[v]) {
      for (const auto& [other, other_stride] : around_[p]) {
        if (other != f) continue;
        const auto number = static_cast<std::size_t>(f);
        const double* base = tables_[number] + entry(number) - stride * static_cast<std::size_t>(state_[v]) -
                             other_stride * static_cast<std::size_t>(state_[p]);
        for (std::size_t a = 0; a < rows; ++a)
          for (std::size_t b = 0; b < columns; ++b) table[a * columns + b] += base[a * stride + b * other_stride];
      }
    }
  };
  // Factors that hold no other variable of the tree.
  for (std::size_t i = begin; i < end; ++i) {
    const std::size_t v = planted_[i];
    for (const auto& [f, stride] : around_[v]) {
      const auto number = static_cast<std::size_t>(f);
      bool alone = true;
      for (const std::int64_t u : scopes_[number]) {
        const auto at = static_cast<std::size_t>(u);
        alone = alone && (at == v || observed_[at] || (parent_[v] != at && parent_[at] != v));
      }
      if (!alone) continue;
      const double* base = tables_[number] + entry(number) - stride * static_cast<std::size_t>(state_[v]);
      for (std::size_t s = 0; s < static_cast<std::size_t>(cardinalities_[v]); ++s)
        logs[offset_[v] + s] += base[s * stride];
    }
  }
  for (std::size_t i = end; i-- > begin + 1;) {
    const std::size_t v = planted_[i], p = parent_[v];
    const auto rows = static_cast<std::size_t>(cardinalities_[v]),
               columns = static_cast<std::size_t>(cardinalities_[p]);
    pair_of(v, pair);
    own.resize(rows);
    for (std::size_t b = 0; b < columns; ++b) {
      for (std::size_t a = 0; a < rows; ++a) own[a] = logs[offset_[v] + a] + pair[a * columns + b];
      const double largest = exponentiate(own.data(), rows);
      double total = 0;
      for (const double x : own) total += x;
      logs[offset_[p] + b] += total > 0 ? largest + std::log(total) : minus_infinity;
    }
  }
  for (std::size_t i = begin; i < end; ++i) {
    const std::size_t v = planted_[i], p = parent_[v];
    const auto rows = static_cast<std::size_t>(cardinalities_[v]);
    own.assign(logs.begin() + static_cast<std::ptrdiff_t>(offset_[v]),
               logs.begin() + static_cast<std::ptrdiff_t>(offset_[v] + rows));
    if (p != v) {
      const auto columns = static_cast<std::size_t>(cardinalities_[p]);
      pair_of(v, pair);
      for (std::size_t a = 0; a < rows; ++a) own[a] += pair[a * columns + static_cast<std::size_t>(state_[p])];
    }
    // Without possible states (only at the root) the tree waits for the others to change.
    if (exponentiate(own.data(), rows) == minus_infinity) {
      for (std::size_t j = begin; j < end && sums != nullptr; ++j)
        sums[offset_[planted_[j]] + static_cast<std::size_t>(state_[planted_[j]])] += 1;
      return;
    }
    double total = 0;
    for (const double x : own) total += x;
    for (std::size_t a = 0; a < rows && sums != nullptr; ++a) sums[offset_[v] + a] += own[a] / total;
    state_[v] = choose(own.data(), rows, random_.uniform() * total);
  }
}

void GibbsSampler::tree_sweep(double* sums) {
  if (tree_begin_.empty()) plant();
  for (std::size_t t = 0; t + 1 < tree_begin_.size(); ++t) draw_tree(tree_begin_[t], tree_begin_[t + 1], sums);
  for (std::size_t v = 0; v < state_.size() && sums != nullptr; ++v)
    if (observed_[v]) sums[offset_[v] + static_cast<std::size_t>(state_[v])] += 1;
}

}  // namespace tapestry::detail
