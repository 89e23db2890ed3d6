#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/autodiff/random.hpp>
#include <tapestry/prob/discrete_model.hpp>

namespace tapestry::detail {

/// Single-site Gibbs sampling (Geman and Geman 1984) in tables of logarithms.
class GibbsSampler {
 public:
  GibbsSampler(std::vector<std::int64_t> cardinalities, std::vector<std::vector<std::int64_t>> scopes,
               std::vector<const double*> tables, const Evidence& evidence, std::uint64_t seed);

  /// Looks for a possible assignment: states that violate the fewest factors are drawn for one violated factor's
  /// variables after the other. @return whether one was found within `steps` draws
  bool find_possible(std::int64_t steps);
  void set(const std::vector<std::int64_t>& assignment);

  /// Draws each unobserved variable given all others. If `sums` is not null, adds each one's conditional distribution.
  void sweep(double* sums);
  /// Sets each variable to its best state in turn until none changes.
  void climb();

  const std::vector<std::int64_t>& state() const { return state_; }
  /// Log-score of the present assignment; -inf where impossible.
  double score() const;
  std::size_t entry(std::size_t factor) const;
  std::size_t state_offset(std::size_t variable) const { return offset_[variable]; }

 private:
  struct Touch {
    std::int32_t factor;
    std::size_t stride;
  };
  /// Log-probabilities (unnormalised) of the states of v, and how many factors forbid each.
  void conditional(std::size_t v);
  std::int64_t draw(std::size_t v, double* sums);

  std::vector<std::int64_t> cardinalities_;
  std::vector<std::vector<std::int64_t>> scopes_;
  std::vector<std::vector<std::size_t>> strides_;
  std::vector<const double*> tables_;
  std::vector<std::vector<Touch>> around_;
  std::vector<char> observed_;
  std::vector<std::int64_t> state_;
  std::vector<std::size_t> offset_;
  std::vector<double> logs_;
  std::vector<int> violations_;
  Generator random_;
};

}  // namespace tapestry::detail
