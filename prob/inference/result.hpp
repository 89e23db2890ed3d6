#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

struct FixedPointReport;

/// What a number given as log-partition is.
enum class BoundKind { exact, lower_bound, upper_bound, estimate };

/// How an inference went. Iterations are sweeps over all messages, beliefs or variables.
struct InferenceTrace {
  std::vector<double> residual;  ///< largest change of a probability in each iteration
  std::vector<double> bound;     ///< log-partition (of the first batch element) after each iteration, where computed
  std::int64_t iterations = 0;
  std::int64_t updates = 0;  ///< messages, beliefs or single variables computed
  double seconds = 0;
  bool oscillates = false;  ///< the residual stopped to shrink: more iterations will not help without damping
};

/// The result of any inference method. Everything on the tape is differentiable with respect to the graph's potentials.
template <class T>
struct InferenceResult {
  /// Marginals of each variable group: [shape..., K], or [batch, shape..., K]. All zero where `possible` is not.
  std::vector<Var<T>> variables;
  /// Marginals of each factor group, in the shape of its table: [factors, table], or [batch, factors, table]; for kinds
  /// other than tables the probability of each potential's applying. Empty where the method has none.
  std::vector<Var<T>> factors;
  /// Shape [] or [batch].
  Var<T> log_partition;
  BoundKind kind = BoundKind::estimate;
  /// A probable assignment [variables] or [batch, variables], and its score, where the method gives one.
  std::optional<IndexTensor> assignment;
  Var<T> assignment_score;
  /// Standard errors of the variables' marginals, where the method samples; inf where it sampled once.
  std::vector<Tensor<T>> standard_errors;
  /// How many independent samples would have such errors: the samples, less where they are correlated. Known no better
  /// than the errors, to about a third.
  std::vector<Tensor<T>> effective_samples;
  InferenceTrace trace;
  bool converged = true;
  /// With GradientMode::implicit: how the equation for the gradient was solved in the last backward pass (see
  /// graph/fixed_point.hpp); null otherwise.
  std::shared_ptr<const FixedPointReport> adjoint;
  /// Whether some assignment agrees with evidence and factors (in all of the batch). Where none does, log_partition is
  /// -inf and has no gradient, and marginals are zero. Approximate methods look for one where their own assignment is
  /// forbidden; if neither that nor its absence is found in bounded time this stays true: a lower bound of -inf, also
  /// without gradient, then stands beside marginals of what factors forbid in part.
  bool possible = true;
};

}  // namespace tapestry
