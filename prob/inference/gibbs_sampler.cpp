#include <tapestry/prob/inference/gibbs_sampler.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tapestry::detail {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
// Of the draws in the search for a possible assignment: how often a step ignores which states violate least.
constexpr double noise = 0.05;

}  // namespace

GibbsSampler::GibbsSampler(std::vector<std::int64_t> cardinalities, std::vector<std::vector<std::int64_t>> scopes,
                           std::vector<const double*> tables, const Evidence& evidence, std::uint64_t seed)
    : cardinalities_(std::move(cardinalities)),
      scopes_(std::move(scopes)),
      tables_(std::move(tables)),
      around_(cardinalities_.size()),
      observed_(cardinalities_.size(), 0),
      state_(cardinalities_.size(), 0),
      offset_{0},
      random_(seed) {
  std::int64_t most = 0;
  for (const std::int64_t k : cardinalities_) {
    offset_.push_back(offset_.back() + static_cast<std::size_t>(k));
    most = std::max(most, k);
  }
  scratch_.logs.resize(static_cast<std::size_t>(most));
  scratch_.violations.resize(static_cast<std::size_t>(most));
  for (std::size_t f = 0; f < scopes_.size(); ++f) {
    std::size_t stride = 1;
    strides_.emplace_back(scopes_[f].size());
    for (std::size_t i = scopes_[f].size(); i-- > 0;) {
      const auto v = static_cast<std::size_t>(scopes_[f][i]);
      strides_.back()[i] = stride;
      around_[v].push_back(static_cast<std::int32_t>(f));
      stride *= static_cast<std::size_t>(cardinalities_[v]);
    }
  }
  for (std::size_t v = 0; v < around_.size(); ++v) {
    first_view_.push_back(views_.size());
    for (const std::int32_t number : around_[v]) {
      const auto f = static_cast<std::size_t>(number);
      views_.push_back({tables_[f], 0, others_.size()});
      for (std::size_t i = 0; i < scopes_[f].size(); ++i) {
        const auto u = static_cast<std::size_t>(scopes_[f][i]);
        if (u == v)
          views_.back().stride = strides_[f][i];
        else
          others_.push_back({u, strides_[f][i]});
      }
    }
  }
  first_view_.push_back(views_.size());
  views_.push_back({nullptr, 0, others_.size()});
  for (std::size_t v = 0; v < state_.size(); ++v) state_[v] = random_.integer(cardinalities_[v]);
  for (const auto& [variable, value] : evidence) {
    observed_[static_cast<std::size_t>(variable)] = 1;
    state_[static_cast<std::size_t>(variable)] = value;
  }
}

void GibbsSampler::set(const std::vector<std::int64_t>& assignment) {
  for (std::size_t v = 0; v < state_.size(); ++v)
    if (!observed_[v]) state_[v] = assignment[v];
}

std::size_t GibbsSampler::entry(std::size_t f) const {
  std::size_t at = 0;
  for (std::size_t i = 0; i < scopes_[f].size(); ++i)
    at += strides_[f][i] * static_cast<std::size_t>(state_[static_cast<std::size_t>(scopes_[f][i])]);
  return at;
}

double GibbsSampler::score() const {
  double total = 0;
  for (std::size_t f = 0; f < scopes_.size(); ++f) total += tables_[f][entry(f)];
  return total;
}

void GibbsSampler::conditional(std::size_t v, Conditional& c) const {
  const auto k = static_cast<std::size_t>(cardinalities_[v]);
  std::fill_n(c.logs.begin(), k, 0.0);
  std::fill_n(c.violations.begin(), k, 0);
  for (std::size_t i = first_view_[v]; i < first_view_[v + 1]; ++i) {
    const std::size_t stride = views_[i].stride;
    const double* table = views_[i].table;
    for (std::size_t o = views_[i].others; o < views_[i + 1].others; ++o)
      table += others_[o].stride * static_cast<std::size_t>(state_[others_[o].variable]);
    for (std::size_t s = 0; s < k; ++s) {
      const double x = table[s * stride];
      if (x == minus_infinity)
        ++c.violations[s];
      else
        c.logs[s] += x;
    }
  }
}

std::int64_t GibbsSampler::draw(std::size_t v, double u, Conditional& c, double* sums) const {
  conditional(v, c);
  auto& logs = c.logs;
  const auto k = static_cast<std::size_t>(cardinalities_[v]);
  const int fewest = *std::min_element(c.violations.begin(), c.violations.begin() + static_cast<std::ptrdiff_t>(k));
  double largest = minus_infinity, total = 0;
  for (std::size_t s = 0; s < k; ++s)
    if (c.violations[s] == fewest) largest = std::max(largest, logs[s]);
  for (std::size_t s = 0; s < k; ++s) {
    logs[s] = c.violations[s] == fewest ? std::exp(logs[s] - largest) : 0;
    total += logs[s];
  }
  if (sums != nullptr)
    for (std::size_t s = 0; s < k; ++s) sums[offset_[v] + s] += logs[s] / total;
  return choose(logs.data(), k, u * total);
}

void GibbsSampler::sweep(double* sums) {
  for (std::size_t v = 0; v < state_.size(); ++v) {
    if (!observed_[v])
      state_[v] = draw(v, random_.uniform(), scratch_, sums);
    else if (sums != nullptr)
      sums[offset_[v] + static_cast<std::size_t>(state_[v])] += 1;
  }
}

void GibbsSampler::climb() {
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t v = 0; v < state_.size(); ++v) {
      if (observed_[v]) continue;
      conditional(v, scratch_);
      auto best = static_cast<std::size_t>(state_[v]);
      for (std::size_t s = 0; s < static_cast<std::size_t>(cardinalities_[v]); ++s)
        if (scratch_.violations[s] < scratch_.violations[best] ||
            (scratch_.violations[s] == scratch_.violations[best] && scratch_.logs[s] > scratch_.logs[best] + 1e-12))
          best = s;
      changed = changed || static_cast<std::int64_t>(best) != state_[v];
      state_[v] = static_cast<std::int64_t>(best);
    }
  }
}

bool GibbsSampler::find_possible(std::int64_t steps) {
  const auto violated = [&](std::size_t f) { return tables_[f][entry(f)] == minus_infinity; };
  sweep(nullptr);
  // Violated factors, and where each stands in the list.
  std::vector<std::size_t> list, place(scopes_.size(), SIZE_MAX);
  const auto refresh = [&](std::size_t f) {
    const bool is = violated(f);
    if (is && place[f] == SIZE_MAX) {
      place[f] = list.size();
      list.push_back(f);
    } else if (!is && place[f] != SIZE_MAX) {
      place[list.back()] = place[f];
      list[place[f]] = list.back();
      list.pop_back();
      place[f] = SIZE_MAX;
    }
  };
  for (std::size_t f = 0; f < scopes_.size(); ++f) refresh(f);
  for (std::int64_t step = 0; step < steps && !list.empty(); ++step) {
    const std::size_t f = list[static_cast<std::size_t>(random_.integer(static_cast<std::int64_t>(list.size())))];
    std::vector<std::size_t> open;
    for (const std::int64_t v : scopes_[f])
      if (!observed_[static_cast<std::size_t>(v)]) open.push_back(static_cast<std::size_t>(v));
    if (open.empty()) return false;
    const std::size_t v = open[static_cast<std::size_t>(random_.integer(static_cast<std::int64_t>(open.size())))];
    state_[v] =
        random_.uniform() < noise ? random_.integer(cardinalities_[v]) : draw(v, random_.uniform(), scratch_, nullptr);
    // Others than the one drawn: a violated factor is rarely mended by one variable alone.
    for (const std::int32_t touched : around_[v]) refresh(static_cast<std::size_t>(touched));
  }
  return list.empty();
}

}  // namespace tapestry::detail
