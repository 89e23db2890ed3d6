#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace tapestry::detail {

struct SemiMarkovExtents {
  std::int64_t batch, steps, durations, states;
};

/// One sequence: recursions over steps in logarithms.
template <class T>
class SemiMarkovSequence {
 public:
  static constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

  SemiMarkovSequence(const SemiMarkovExtents& e, std::int64_t length, const T* segments, const T* transitions)
      : n_(length), D_(e.durations), K_(e.states), segments_(segments), transitions_(transitions) {}

  double segment(std::int64_t t, std::int64_t d, std::int64_t k) const {
    return static_cast<double>(segments_[(t * D_ + d) * K_ + k]);
  }
  double transition(std::int64_t j, std::int64_t k) const { return static_cast<double>(transitions_[j * K_ + k]); }

  template <class Term>
  static double sum(std::int64_t terms, Term term) {
    double largest = minus_infinity, total = 0;
    for (std::int64_t i = 0; i < terms; ++i) largest = std::max(largest, term(i));
    if (largest == minus_infinity) return largest;
    for (std::int64_t i = 0; i < terms; ++i) total += std::exp(term(i) - largest);
    return largest + std::log(total);
  }
  double& at(std::vector<double>& x, std::int64_t t, std::int64_t k) const {
    return x[static_cast<std::size_t>(t * K_ + k)];
  }

  /// ended(t, k): all that ends with a segment of state k before step t; begun(t, k): the same with the transition to a
  /// segment of state k that begins at t.
  double log_partition() {
    ended_.assign(static_cast<std::size_t>((n_ + 1) * K_), minus_infinity);
    begun_.assign(ended_.size(), 0.0);
    for (std::int64_t t = 1; t <= n_; ++t) {
      for (std::int64_t k = 0; k < K_; ++k)
        at(ended_, t, k) =
            sum(std::min(D_, t), [&](std::int64_t d) { return at(begun_, t - d - 1, k) + segment(t - d - 1, d, k); });
      for (std::int64_t k = 0; k < K_; ++k)
        at(begun_, t, k) = sum(K_, [&](std::int64_t j) { return at(ended_, t, j) + transition(j, k); });
    }
    return n_ == 0 ? 0 : sum(K_, [&](std::int64_t k) { return at(ended_, n_, k); });
  }

  /// Adds g times the expected numbers of segments and transitions, either may be null.
  void add_expectations(double g, T* segments, T* transitions) {
    const double total = log_partition();
    if (n_ == 0 || total == minus_infinity) return;
    look_ahead();
    const auto probability = [&](double log_p) { return static_cast<T>(g * std::exp(log_p - total)); };
    for (std::int64_t t = 0; t < n_; ++t)
      for (std::int64_t k = 0; k < K_; ++k) {
        for (std::int64_t d = 0; segments != nullptr && d < std::min(D_, n_ - t); ++d)
          segments[(t * D_ + d) * K_ + k] += probability(at(begun_, t, k) + segment(t, d, k) + at(rest_, t + d + 1, k));
        for (std::int64_t j = 0; transitions != nullptr && t > 0 && j < K_; ++j)
          transitions[j * K_ + k] += probability(at(ended_, t, j) + transition(j, k) + at(ahead_, t, k));
      }
  }

  /// rest(t, k): all that follows a segment of state k that ended before step t; ahead(t, k): all from a segment of
  /// state k that begins at t.
  void look_ahead() {
    rest_.assign(static_cast<std::size_t>((n_ + 1) * K_), 0.0);
    ahead_.assign(rest_.size(), minus_infinity);
    for (std::int64_t t = n_; t-- > 0;) {
      for (std::int64_t k = 0; k < K_; ++k)
        at(ahead_, t, k) =
            sum(std::min(D_, n_ - t), [&](std::int64_t d) { return segment(t, d, k) + at(rest_, t + d + 1, k); });
      for (std::int64_t k = 0; k < K_; ++k)
        at(rest_, t, k) = sum(K_, [&](std::int64_t j) { return transition(k, j) + at(ahead_, t, j); });
    }
  }

  /// After look_ahead(): a segmentation, one uniform number for each segment.
  void sample(const T* uniforms, std::int64_t* states, std::int64_t* begins) {
    std::vector<double> weights(static_cast<std::size_t>(D_ * K_));
    for (std::int64_t t = 0, before = -1; t < n_;) {
      const std::int64_t durations = std::min(D_, n_ - t);
      for (std::int64_t d = 0; d < durations; ++d)
        for (std::int64_t k = 0; k < K_; ++k)
          weights[static_cast<std::size_t>(d * K_ + k)] =
              (before < 0 ? 0 : transition(before, k)) + segment(t, d, k) + at(rest_, t + d + 1, k);
      const auto end = weights.begin() + static_cast<std::ptrdiff_t>(durations * K_);
      const double largest = *std::max_element(weights.begin(), end);
      if (largest == minus_infinity) return;
      double total = 0;
      for (auto w = weights.begin(); w != end; ++w) total += * w = std::exp(*w - largest);
      double u = static_cast<double>(uniforms[t]) * total;
      std::int64_t chosen = -1;
      for (std::int64_t i = 0; i < durations * K_ && (chosen < 0 || u >= 0); ++i)
        if (const double w = weights[static_cast<std::size_t>(i)]; w > 0) {
          chosen = i;
          u -= w;
        }
      const std::int64_t next = t + chosen / K_ + 1;
      before = chosen % K_;
      std::fill(states + t, states + next, before);
      begins[t] = 1;
      t = next;
    }
  }

  /// The best segmentation, into arrays of the sequence's steps.
  double best(std::int64_t* states, std::int64_t* begins) {
    std::vector<double> ended(static_cast<std::size_t>((n_ + 1) * K_), minus_infinity), begun(ended.size(), 0.0);
    std::vector<std::int64_t> duration(ended.size(), -1), before(ended.size(), -1);
    const auto place = [&](std::int64_t t, std::int64_t k) { return static_cast<std::size_t>(t * K_ + k); };
    for (std::int64_t t = 1; t <= n_; ++t) {
      for (std::int64_t k = 0; k < K_; ++k)
        for (std::int64_t d = 0; d < std::min(D_, t); ++d)
          if (const double x = begun[place(t - d - 1, k)] + segment(t - d - 1, d, k); x > ended[place(t, k)]) {
            ended[place(t, k)] = x;
            duration[place(t, k)] = d;
          }
      for (std::int64_t k = 0; k < K_; ++k) {
        begun[place(t, k)] = minus_infinity;
        for (std::int64_t j = 0; j < K_; ++j)
          if (const double x = ended[place(t, j)] + transition(j, k); x > begun[place(t, k)]) {
            begun[place(t, k)] = x;
            before[place(t, k)] = j;
          }
      }
    }
    if (n_ == 0) return 0;
    const auto last = std::max_element(ended.end() - K_, ended.end());
    if (*last == minus_infinity) return minus_infinity;
    std::int64_t k = last - (ended.end() - K_);
    for (std::int64_t t = n_; t > 0;) {
      const std::int64_t first = t - duration[place(t, k)] - 1;
      std::fill(states + first, states + t, k);
      begins[first] = 1;
      t = first;
      k = before[place(t, k)];
    }
    return *last;
  }

 private:
  std::int64_t n_, D_, K_;
  const T *segments_, *transitions_;
  std::vector<double> ended_, begun_, rest_, ahead_;
};

}  // namespace tapestry::detail
