#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace tapestry {

// Semirings for eliminate(): what a model's sum over assignments of products of factors is taken in. Each has a type of
// values, zero(), one(), plus(), times(), factor(group, factor, entry, log_potential) for an entry of a factor, and
// state(variable, state) for a choice.

namespace detail {

/// States of some variables, put together of parts that are shared.
struct PartialAssignment {
  std::int64_t variable = -1, state = 0;
  std::shared_ptr<const PartialAssignment> left = nullptr, right = nullptr;

  /// Writes the states. Without recursion: parts may be a million deep.
  void write(std::int64_t* states) const {
    std::vector<const PartialAssignment*> open{this};
    while (!open.empty()) {
      const PartialAssignment* part = open.back();
      open.pop_back();
      if (part->variable >= 0) states[part->variable] = part->state;
      if (part->left) open.push_back(part->left.get());
      if (part->right) open.push_back(part->right.get());
    }
  }
};
using AssignmentRef = std::shared_ptr<const PartialAssignment>;

inline AssignmentRef join(const AssignmentRef& a, const AssignmentRef& b) {
  if (!a || !b) return a ? a : b;
  return std::make_shared<const PartialAssignment>(PartialAssignment{-1, 0, a, b});
}
inline AssignmentRef choose(std::int64_t variable, std::int64_t state) {
  return std::make_shared<const PartialAssignment>(PartialAssignment{variable, state, nullptr, nullptr});
}
inline constexpr double impossible_score = -std::numeric_limits<double>::infinity();
inline double log_add(double a, double b) {
  const double largest = std::max(a, b);
  return largest == impossible_score ? largest : largest + std::log1p(std::exp(std::min(a, b) - largest));
}

}  // namespace detail

/// The log-partition.
struct LogSemiring {
  using Value = double;
  Value zero() const { return detail::impossible_score; }
  Value one() const { return 0; }
  Value plus(double a, double b) const { return detail::log_add(a, b); }
  Value times(double a, double b) const { return a + b; }
  Value factor(std::int64_t, std::int64_t, std::int64_t, double log_potential) const { return log_potential; }
  Value state(std::int64_t, std::int64_t) const { return 0; }
};

/// The k best assignments, the best first; fewer where fewer are possible. k = 1 is the max semiring.
struct KBestSemiring {
  struct Entry {
    double score;
    detail::AssignmentRef assignment;
  };
  using Value = std::vector<Entry>;
  std::size_t k = 1;

  Value zero() const { return {}; }
  Value one() const { return {{0, nullptr}}; }
  Value plus(const Value& a, const Value& b) const {
    Value out;
    std::size_t i = 0, j = 0;
    while (out.size() < k && (i < a.size() || j < b.size()))
      out.push_back(j == b.size() || (i < a.size() && a[i].score >= b[j].score) ? a[i++] : b[j++]);
    return out;
  }
  Value times(const Value& a, const Value& b) const {
    Value out;
    // Of sorted lists the best k pairs are among those with (i + 1) (j + 1) <= k.
    for (std::size_t i = 0; i < a.size(); ++i)
      for (std::size_t j = 0; j < b.size() && (i + 1) * (j + 1) <= k; ++j)
        out.push_back({a[i].score + b[j].score, detail::join(a[i].assignment, b[j].assignment)});
    std::stable_sort(out.begin(), out.end(), [](const Entry& x, const Entry& y) { return x.score > y.score; });
    if (out.size() > k) out.resize(k);
    return out;
  }
  Value factor(std::int64_t, std::int64_t, std::int64_t, double log_potential) const {
    return log_potential == detail::impossible_score ? zero() : Value{{log_potential, nullptr}};
  }
  Value state(std::int64_t variable, std::int64_t state) const { return {{0, detail::choose(variable, state)}}; }
};

/// One exact sample for each elimination: sums pick one of their terms in proportion. `uniform` gives numbers in [0,
/// 1).
template <class Uniform>
struct SamplingSemiring {
  struct Value {
    double log_weight;
    detail::AssignmentRef assignment;
  };
  Uniform uniform;

  Value zero() const { return {detail::impossible_score, nullptr}; }
  Value one() const { return {0, nullptr}; }
  Value plus(const Value& a, const Value& b) {
    if (a.log_weight == detail::impossible_score) return b;
    if (b.log_weight == detail::impossible_score) return a;
    const double total = detail::log_add(a.log_weight, b.log_weight);
    return {total, (uniform() < std::exp(a.log_weight - total) ? a : b).assignment};
  }
  Value times(const Value& a, const Value& b) const {
    return {a.log_weight + b.log_weight, detail::join(a.assignment, b.assignment)};
  }
  Value factor(std::int64_t, std::int64_t, std::int64_t, double log_potential) const {
    return {log_potential, nullptr};
  }
  Value state(std::int64_t variable, std::int64_t state) const { return {0, detail::choose(variable, state)}; }
};
template <class Uniform>
SamplingSemiring(Uniform) -> SamplingSemiring<Uniform>;

/// The expectation of a sum of values of factors' entries (Eisner 2002; Li, Eisner 2009).
/// value(group, factor, entry, log_potential) of impossible entries is never asked for.
template <class F>
struct ExpectationSemiring {
  struct Value {
    double log_weight, mean;
  };
  F value;

  Value zero() const { return {detail::impossible_score, 0}; }
  Value one() const { return {0, 0}; }
  Value plus(const Value& a, const Value& b) const {
    const double total = detail::log_add(a.log_weight, b.log_weight);
    if (total == detail::impossible_score) return zero();
    return {total, std::exp(a.log_weight - total) * a.mean + std::exp(b.log_weight - total) * b.mean};
  }
  Value times(const Value& a, const Value& b) const {
    const double total = a.log_weight + b.log_weight;
    return total == detail::impossible_score ? zero() : Value{total, a.mean + b.mean};
  }
  Value factor(std::int64_t group, std::int64_t factor, std::int64_t entry, double log_potential) const {
    if (log_potential == detail::impossible_score) return zero();
    return {log_potential, value(group, factor, entry, log_potential)};
  }
  Value state(std::int64_t, std::int64_t) const { return one(); }
};
template <class F>
ExpectationSemiring(F) -> ExpectationSemiring<F>;

namespace detail {
struct ScoreOfEntry {
  double operator()(std::int64_t, std::int64_t, std::int64_t, double log_potential) const { return log_potential; }
};
}  // namespace detail

/// The expected score; entropy() of its result is that of the distribution, in nats.
struct EntropySemiring : ExpectationSemiring<detail::ScoreOfEntry> {
  static double entropy(const Value& x) { return x.log_weight - x.mean; }
};

}  // namespace tapestry
