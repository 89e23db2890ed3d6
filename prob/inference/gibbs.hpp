#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// What is drawn at once.
enum class GibbsBlocks {
  single,     ///< one variable after the other
  chromatic,  ///< the same by colours: variables that share no factor, in threads (Gonzalez et al. 2011)
  trees,      ///< trees of variables jointly, which mixes faster where factors are strong (Hamze, de Freitas 2004)
  blocked     ///< blocks of one's own, or of a graph partitioning, each jointly (Jensen, Kong, Kjaerulff 1995)
};

/// Gibbs sampling. Marginals are averages of conditional distributions (Rao-Blackwellised), with standard errors by
/// batch means and effective sample sizes; the log-partition is Bethe's estimate at the sampled marginals; the
/// assignment is the best that was seen. Nothing is differentiable.
struct Gibbs {
  static constexpr const char* name = "Gibbs sampling";
  std::int64_t iterations = 10000;  ///< sweeps over all variables that count
  std::int64_t burn_in = 1000;
  std::uint64_t seed = 0;
  GibbsBlocks blocks = GibbsBlocks::single;
  /// Draws in the search for a possible start, where factors forbid states.
  std::int64_t search = 1000000;

  // Of GibbsBlocks::blocked.
  /// Variables of each block. Blocks may share variables; those of none are drawn alone. Found if empty.
  std::vector<std::vector<std::int64_t>> given = {};
  std::int64_t block_size = 10;        ///< of those found; smaller where tables would not fit
  double memory_limit = 1073741824.0;  ///< bytes, for the tables of one block
};

/// The result has not converged if no possible assignment was found. @throws IndexError for blocks of variables that do
/// not exist or occur twice, NumericalError for tables beyond the memory limit, with both numbers
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const Gibbs& options);

extern template InferenceResult<float> infer(const FactorGraph<float>&, const Gibbs&);
extern template InferenceResult<double> infer(const FactorGraph<double>&, const Gibbs&);

}  // namespace tapestry
