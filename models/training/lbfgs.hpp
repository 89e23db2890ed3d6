#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <tapestry/graph/archive.hpp>

namespace tapestry {

enum class LineSearch { more_thuente, armijo, wolfe, strong_wolfe };

/// Settings of minimize_lbfgs(); the defaults are CRFsuite's.
struct LbfgsOptions {
  int memory = 6;                    ///< pairs of steps and gradient changes that are kept
  int max_iterations = 0;            ///< 0: no limit
  double gradient_tolerance = 1e-5;  ///< converged when |gradient| < tolerance * max(1, |x|)
  int period = 10;                   ///< iterations over which the decrease is measured; 0: never
  double decrease_tolerance = 1e-5;  ///< stops when (value period iterations ago - value) / value is below
  LineSearch line_search = LineSearch::more_thuente;  ///< with an L1 term always backtracking
  int max_evaluations = 20;                           ///< in one line search
  /// Iterations after which the pairs are dropped, as at the start; 0: never. A `state` can be taken there.
  int restart = 0;
  double l1 = 0;              ///< weight of the L1 norm; above 0 the method is OWL-QN (Andrew and Gao 2007)
  std::int64_t l1_begin = 0;  ///< the variables in the norm: [l1_begin, l1_end)
  std::int64_t l1_end = -1;   ///< -1: all from l1_begin
};

/// What the method knows after an iteration.
struct LbfgsProgress {
  int iteration;         ///< from 1
  double value;          ///< of the objective, the L1 term included
  double x_norm;         ///< Euclidean
  double gradient_norm;  ///< Euclidean
  double step;           ///< of the line search
  int evaluations;       ///< of the objective in this iteration
  std::span<const double> x;
  std::span<const double> gradient;
};

enum class LbfgsStop {
  converged,       ///< by the gradient's norm
  small_decrease,  ///< by the change of the objective
  max_iterations,
  stopped,  ///< by the progress function
  line_search_failed
};

const char* to_string(LbfgsStop stop);

/// Where a minimisation is when it restarts: saved with an Archive, it goes on to the same bits.
struct LbfgsState {
  std::int64_t iteration = 0;  ///< done; 0: not begun
  std::int64_t evaluations = 0;
  double value = 0;
  std::vector<double> x;

  void archive(Archive& a) { a("iteration", iteration)("evaluations", evaluations)("value", value)("x", x); }
};

struct LbfgsResult {
  double value = 0;  ///< at the x returned
  int iterations = 0;
  int evaluations = 0;
  LbfgsStop stop = LbfgsStop::converged;
};

/// Sets the gradient at x and returns the value.
using Objective = std::function<double(std::span<const double> x, std::span<double> gradient)>;
/// Returns false to stop.
using LbfgsObserver = std::function<bool(const LbfgsProgress&)>;

/// Minimises a smooth function, plus l1 |x|_1, from x, and leaves the best point in x (Nocedal 1980, by liblbfgs).
/// With a `state` that has begun it goes on from there, whatever x is, and the result counts from the beginning; the
/// state is set at each restart, when the observer has seen the iteration before. What the functions throw is passed
/// on, and x is then as it was.
/// @throws NumericalError if the objective is not finite at the start, or NaN later; Error for options out of range,
///   ShapeError for a state of another size
LbfgsResult minimize_lbfgs(std::span<double> x, const Objective& objective, const LbfgsOptions& options = {},
                           const LbfgsObserver& observer = {}, LbfgsState* state = nullptr);

}  // namespace tapestry
