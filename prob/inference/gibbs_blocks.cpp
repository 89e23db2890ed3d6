#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/cluster_mean_field.hpp>
#include <tapestry/prob/inference/elimination_order.hpp>
#include <tapestry/prob/inference/gibbs_sampler.hpp>
#include <tapestry/prob/inference/split_mix.hpp>
#include <tapestry/prob/split.hpp>

// Many variables at once: by colours, and in blocks.
namespace tapestry::detail {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
constexpr std::size_t variables_per_chunk = 256;

/// A number in [0, 1) for each pair.
double uniform_of(std::uint64_t seed, std::uint64_t counter) {
  return static_cast<double>(split_mix(seed + (counter - 1) * 0x9e3779b97f4a7c15) >> 11) * 0x1p-53;
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
    for (const std::int32_t f : around_[v])
      for (const std::int64_t u : scopes_[static_cast<std::size_t>(f)]) {
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

const std::vector<std::vector<std::size_t>>& GibbsSampler::colors() {
  if (colors_.empty()) color();
  return colors_;
}

void GibbsSampler::chromatic_sweep(double* sums) {
  const auto seed = static_cast<std::uint64_t>(random_.integer(std::int64_t{1} << 62));
  for (const auto& members : colors())
    split(members.size(), variables_per_chunk, [&](std::size_t begin, std::size_t end) {
      Conditional scratch = scratch_;
      for (std::size_t i = begin; i < end; ++i)
        state_[members[i]] = draw(members[i], uniform_of(seed, members[i]), scratch, sums);
    });
  for (std::size_t v = 0; v < state_.size() && sums != nullptr; ++v)
    if (observed_[v]) sums[offset_[v] + static_cast<std::size_t>(state_[v])] += 1;
}

std::vector<std::vector<std::int64_t>> GibbsSampler::trees() const {
  std::vector<std::vector<std::int64_t>> scopes;
  for (const auto& scope : scopes_) {
    scopes.emplace_back();
    for (const std::int64_t v : scope)
      if (!observed_[static_cast<std::size_t>(v)]) scopes.back().push_back(v);
  }
  return members_of(tree_clusters(static_cast<std::int64_t>(state_.size()), scopes));
}

void GibbsSampler::set_blocks(std::vector<std::vector<std::int64_t>> blocks, double memory_limit) {
  std::vector<double> draws(state_.size(), 0.0);
  std::vector<std::size_t> seen(state_.size(), 0);
  for (std::size_t b = 0; b < blocks.size(); ++b)
    for (const std::int64_t v : blocks[b]) {
      if (v < 0 || v >= static_cast<std::int64_t>(state_.size()))
        fail<IndexError>("gibbs", "block ", b, " has variable ", v, " of ", state_.size());
      auto& last = seen[static_cast<std::size_t>(v)];
      if (last == b + 1) fail<IndexError>("gibbs", "block ", b, " has variable ", v, " twice");
      last = b + 1;
      draws[static_cast<std::size_t>(v)] += 1;
    }
  blocks_.clear();
  alone_.clear();
  std::size_t most = 0;
  std::vector<std::int64_t> local(state_.size(), -1);
  for (auto& block : blocks) {
    std::erase_if(block, [&](std::int64_t v) { return observed_[static_cast<std::size_t>(v)] != 0; });
    if (block.empty()) continue;
    blocks_.push_back(plan_block(block, memory_limit, local));
    most = std::max(most, blocks_.back().elements);
  }
  block_tables_.resize(most);
  share_.assign(state_.size(), 1.0);
  for (std::size_t v = 0; v < state_.size(); ++v)
    if (draws[v] == 0 && !observed_[v])
      alone_.push_back(v);
    else if (!observed_[v])
      share_[v] = 1 / draws[v];
}

GibbsSampler::Block GibbsSampler::plan_block(const std::vector<std::int64_t>& members, double memory_limit,
                                             std::vector<std::int64_t>& local) const {
  std::vector<std::int64_t> cardinalities;
  for (const std::int64_t v : members) {
    local[static_cast<std::size_t>(v)] = static_cast<std::int64_t>(cardinalities.size());
    cardinalities.push_back(cardinalities_[static_cast<std::size_t>(v)]);
  }
  // Each factor once, by its variables in the block.
  std::vector<std::int32_t> touched;
  for (const std::int64_t v : members) {
    const auto& own = around_[static_cast<std::size_t>(v)];
    touched.insert(touched.end(), own.begin(), own.end());
  }
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  std::vector<std::vector<std::int64_t>> scopes;
  for (const std::int32_t f : touched) {
    scopes.emplace_back();
    for (const std::int64_t v : scopes_[static_cast<std::size_t>(f)])
      if (local[static_cast<std::size_t>(v)] >= 0) scopes.back().push_back(local[static_cast<std::size_t>(v)]);
  }
  const auto order =
      elimination_order(cardinalities, scopes, {.heuristic = EliminationHeuristic::min_fill, .restarts = 1});
  if (const double bytes = 2 * sizeof(double) * order.entries; !order.complete || bytes > memory_limit)
    fail<NumericalError>("gibbs", "a block of ", members.size(), " variables has width ", order.width, " and needs ",
                         bytes, " bytes, more than the limit of ", memory_limit);
  std::vector<std::size_t> position(members.size());
  for (std::size_t p = 0; p < order.order.size(); ++p) position[static_cast<std::size_t>(order.order[p])] = p;
  Block out;
  out.buckets.resize(members.size());
  for (std::size_t p = 0; p < order.order.size(); ++p) {
    Bucket& bucket = out.buckets[p];
    const auto variable_of = [&](std::int64_t l) {
      return static_cast<std::size_t>(members[static_cast<std::size_t>(l)]);
    };
    bucket.variable = variable_of(order.order[p]);
    for (const std::int64_t l : order.neighbours[p]) {
      bucket.rest.push_back(variable_of(l));
      bucket.rows *= static_cast<std::size_t>(cardinalities[static_cast<std::size_t>(l)]);
    }
    bucket.table = out.elements;
    out.elements += bucket.rows * static_cast<std::size_t>(cardinalities_[bucket.variable]);
    bucket.message = out.elements;
    out.elements += bucket.rows;
  }
  const auto first_of = [&](const std::vector<std::size_t>& variables) {
    std::size_t first = members.size();
    for (const std::size_t v : variables) first = std::min(first, position[static_cast<std::size_t>(local[v])]);
    return first;
  };
  const auto add = [](Bucket& bucket, std::int32_t factor, std::size_t message, const auto& stride_of) {
    typename Bucket::Source source{factor, message, {stride_of(bucket.variable)}};
    for (const std::size_t v : bucket.rest) source.strides.push_back(stride_of(v));
    bucket.sources.push_back(std::move(source));
  };
  for (std::size_t i = 0; i < touched.size(); ++i) {
    std::vector<std::size_t> variables;
    for (const std::int64_t l : scopes[i])
      variables.push_back(static_cast<std::size_t>(members[static_cast<std::size_t>(l)]));
    const auto f = static_cast<std::size_t>(touched[i]);
    add(out.buckets[first_of(variables)], touched[i], 0, [&](std::size_t v) {
      const auto& scope = scopes_[f];
      const auto at = std::find(scope.begin(), scope.end(), static_cast<std::int64_t>(v));
      return at == scope.end() ? 0 : strides_[f][static_cast<std::size_t>(at - scope.begin())];
    });
  }
  for (const Bucket& from : out.buckets) {
    if (from.rest.empty()) continue;
    add(out.buckets[first_of(from.rest)], -1, from.message, [&](std::size_t v) {
      std::size_t stride = 1;
      for (std::size_t i = from.rest.size(); i-- > 0;) {
        if (from.rest[i] == v) return stride;
        stride *= static_cast<std::size_t>(cardinalities_[from.rest[i]]);
      }
      return std::size_t{0};
    });
  }
  for (const std::int64_t v : members) local[static_cast<std::size_t>(v)] = -1;
  return out;
}

void GibbsSampler::fill(const Bucket& bucket) {
  const auto k = static_cast<std::size_t>(cardinalities_[bucket.variable]);
  double* table = block_tables_.data() + bucket.table;
  std::fill_n(table, bucket.rows * k, 0.0);
  std::vector<std::size_t> states(bucket.rest.size());
  for (const auto& source : bucket.sources) {
    const double* from = block_tables_.data() + source.message;
    if (source.factor >= 0) {
      // From state 0 of what is summed out and of the rest: other variables have their present states.
      const auto f = static_cast<std::size_t>(source.factor);
      from = tables_[f] + entry(f) - source.strides[0] * static_cast<std::size_t>(state_[bucket.variable]);
      for (std::size_t i = 0; i < bucket.rest.size(); ++i)
        from -= source.strides[i + 1] * static_cast<std::size_t>(state_[bucket.rest[i]]);
    }
    std::fill(states.begin(), states.end(), 0);
    double* to = table;
    for (std::size_t row = 0; row < bucket.rows; ++row, to += k) {
      for (std::size_t s = 0; s < k; ++s) to[s] += from[s * source.strides[0]];
      for (std::size_t i = states.size(); i-- > 0;) {
        from += source.strides[i + 1];
        if (++states[i] < static_cast<std::size_t>(cardinalities_[bucket.rest[i]])) break;
        from -= source.strides[i + 1] * states[i];
        states[i] = 0;
      }
    }
  }
}

bool GibbsSampler::draw_block(const Block& block, double* sums) {
  for (const Bucket& bucket : block.buckets) {
    fill(bucket);
    const auto k = static_cast<std::size_t>(cardinalities_[bucket.variable]);
    double* row = block_tables_.data() + bucket.table;
    double* message = block_tables_.data() + bucket.message;
    for (std::size_t r = 0; r < bucket.rows; ++r, row += k) {
      const double largest = exponentiate(row, k);
      message[r] = largest == minus_infinity ? largest : largest + std::log(std::accumulate(row, row + k, 0.0));
    }
    if (bucket.rest.empty() && message[0] == minus_infinity) return false;
  }
  for (auto bucket = block.buckets.rbegin(); bucket != block.buckets.rend(); ++bucket) {
    const auto k = static_cast<std::size_t>(cardinalities_[bucket->variable]);
    std::size_t row = 0;
    for (const std::size_t v : bucket->rest)
      row = row * static_cast<std::size_t>(cardinalities_[v]) + static_cast<std::size_t>(state_[v]);
    const double* weights = block_tables_.data() + bucket->table + row * k;
    const double total = std::accumulate(weights, weights + k, 0.0);
    for (std::size_t s = 0; s < k && sums != nullptr; ++s)
      sums[offset_[bucket->variable] + s] += share_[bucket->variable] * weights[s] / total;
    state_[bucket->variable] = choose(weights, k, random_.uniform() * total);
  }
  return true;
}

void GibbsSampler::block_sweep(double* sums) {
  for (const Block& block : blocks_)
    if (!draw_block(block, sums) && sums != nullptr)
      for (const Bucket& bucket : block.buckets)
        sums[offset_[bucket.variable] + static_cast<std::size_t>(state_[bucket.variable])] += share_[bucket.variable];
  for (const std::size_t v : alone_) state_[v] = draw(v, random_.uniform(), scratch_, sums);
  for (std::size_t v = 0; v < state_.size() && sums != nullptr; ++v)
    if (observed_[v]) sums[offset_[v] + static_cast<std::size_t>(state_[v])] += 1;
}

}  // namespace tapestry::detail
