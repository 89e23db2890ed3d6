#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <tapestry/prob/inference/gradient_mode.hpp>

namespace tapestry::detail {

/// How often an iteration is made, and which of its states a gradient will need.
struct IterationPlan {
  std::int64_t iterations, truncation;
  double tolerance;
  GradientMode gradient;
  bool keep;  ///< whether there will be a gradient

  /// Of options of any iterative method; a tolerance below what T's rounding reaches is raised to that.
  template <class T, class Options>
  static IterationPlan of(const Options& options, bool keep) {
    return {options.iterations, options.truncation,
            options.tolerance > 0 ? std::max(options.tolerance, 8.0 * std::numeric_limits<T>::epsilon()) : 0,
            options.gradient, keep};
  }
  /// Whether states before the last are kept.
  bool history() const {
    return keep && (gradient == GradientMode::unrolled || gradient == GradientMode::checkpointed ||
                    gradient == GradientMode::truncated);
  }
  /// Iterations from one kept state to the next.
  std::int64_t stride() const {
    if (gradient != GradientMode::checkpointed) return 1;
    return std::max<std::int64_t>(1, std::llround(std::ceil(std::sqrt(static_cast<double>(iterations)))));
  }
};

/// Iterates until the residual is within the tolerance. `kept` ends with the last state; before it come the first and
/// each stride()-th (unrolled, checkpointed), or as many as truncated gradients pass through, which are made anew where
/// the iteration has converged. step(now, next); residual(now, next) is asked in each iteration that counts.
/// @return whether it converged
template <class State, class Step, class Residual>
bool iterate_keeping(const IterationPlan& plan, State now, std::vector<State>& kept, std::int64_t& steps, Step step,
                     Residual residual) {
  const bool all =
      plan.keep && (plan.gradient == GradientMode::unrolled || plan.gradient == GradientMode::checkpointed);
  const bool some = plan.keep && plan.gradient == GradientMode::truncated;
  State next;
  bool converged = false;
  const auto advance = [&](bool measured) {
    step(now, next);
    if (measured) converged = residual(now, next) <= plan.tolerance;
    if (all ? steps % plan.stride() == 0 : some && !converged) {
      kept.push_back(std::move(now));
      now = State();
    }
    std::swap(now, next);
    ++steps;
    if (some && static_cast<std::int64_t>(kept.size()) > plan.truncation) kept.erase(kept.begin());
  };
  while (steps < plan.iterations && !converged) advance(true);
  if (some && converged) {
    kept.clear();
    converged = false;
    for (std::int64_t i = 0; i < plan.truncation; ++i) advance(false);
    converged = true;
  }
  kept.push_back(std::move(now));
  return converged;
}

}  // namespace tapestry::detail
