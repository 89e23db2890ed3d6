#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/autodiff/random.hpp>
#include <tapestry/prob/discrete_model.hpp>

namespace tapestry::detail {

/// The index at which the running sum of weights passes u; of those that are not zero.
inline std::int64_t choose(const double* weights, std::size_t n, double u) {
  std::size_t chosen = n;
  for (std::size_t s = 0; s < n; ++s) {
    if (weights[s] == 0) continue;
    chosen = s;
    u -= weights[s];
    if (u < 0) break;
  }
  return static_cast<std::int64_t>(chosen);
}

/// Gibbs sampling (Geman and Geman 1984) in tables of logarithms.
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
  /// The same colour by colour: variables that share no factor at once, in threads. Each variable has random numbers of
  /// its own, whatever the number of threads.
  void chromatic_sweep(double* sums);
  /// Unobserved variables by colour: no two of one share a factor.
  const std::vector<std::vector<std::size_t>>& colors();
  /// Chooses what block_sweep() draws jointly: variables of each block, which may share some. Others are drawn alone.
  /// @throws IndexError, or NumericalError for tables of more than `memory_limit` bytes
  void set_blocks(std::vector<std::vector<std::int64_t>> blocks, double memory_limit);
  /// Trees inside which factors join at most two free variables.
  std::vector<std::vector<std::int64_t>> trees() const;
  /// Blocks one after the other, each drawn jointly given all others: its variables are summed out one by one, and
  /// drawn in the opposite order. `sums` gets each variable's distribution given the new states of those drawn before
  /// it in the block. Until the state is possible, a block that has no possible states stays.
  void block_sweep(double* sums);
  /// Sets each variable to its best state in turn until none changes.
  void climb();

  const std::vector<std::int64_t>& state() const { return state_; }
  /// Log-score of the present assignment; -inf where impossible.
  double score() const;
  std::size_t entry(std::size_t factor) const;
  std::size_t state_offset(std::size_t variable) const { return offset_[variable]; }

 private:
  /// A factor as one of its variables sees it: `stride` is the variable's; the other variables are those from `others`
  /// up to where the next one's begin.
  struct View {
    const double* table;
    std::size_t stride, others;
  };
  struct Other {
    std::size_t variable, stride;
  };
  /// Log-probabilities (unnormalised) of the states of a variable, and how many factors forbid each.
  struct Conditional {
    std::vector<double> logs;
    std::vector<int> violations;
  };
  void conditional(std::size_t v, Conditional& c) const;
  std::int64_t draw(std::size_t v, double u, Conditional& c, double* sums) const;
  /// A variable, with all that is left of its block when it is summed out.
  struct Bucket {
    struct Source {
      std::int32_t factor;               // or -1 for what another bucket left
      std::size_t message;               // where that is
      std::vector<std::size_t> strides;  // of `variable` and of `rest`
    };
    std::size_t variable;
    std::vector<std::size_t> rest;
    std::vector<Source> sources;
    std::size_t rows = 1;                // joint states of the rest
    std::size_t table = 0, message = 0;  // where they lie in the scratch
  };
  struct Block {
    std::vector<Bucket> buckets;
    std::size_t elements = 0;
  };
  /// `local` has an entry of -1 for each variable, and again afterwards.
  Block plan_block(const std::vector<std::int64_t>& members, double memory_limit,
                   std::vector<std::int64_t>& local) const;
  void fill(const Bucket& bucket);
  bool draw_block(const Block& block, double* sums);
  void color();

  std::vector<std::int64_t> cardinalities_;
  std::vector<std::vector<std::int64_t>> scopes_;
  std::vector<std::vector<std::size_t>> strides_;
  std::vector<const double*> tables_;
  std::vector<std::vector<std::int32_t>> around_;  // factors of each variable
  // The same laid out in the order in which sweeps read it; one more at the ends.
  std::vector<std::size_t> first_view_;
  std::vector<View> views_;
  std::vector<Other> others_;
  std::vector<char> observed_;
  std::vector<std::int64_t> state_;
  std::vector<std::size_t> offset_;
  Conditional scratch_;
  Generator random_;
  std::vector<std::vector<std::size_t>> colors_;  // variables of each colour
  std::vector<Block> blocks_;
  std::vector<std::size_t> alone_;  // variables of no block
  std::vector<double> share_;       // of one draw in a sweep's, of each variable
  std::vector<double> block_tables_;
};

}  // namespace tapestry::detail
