#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/discrete_model.hpp>
#include <tapestry/prob/inference/clique_tree.hpp>

// Exact inference in models as files hold them, without a tape.
namespace tapestry {

/// Evidence of probability zero is no error: `possible` is false, the log-partition -inf, and there are no marginals.
struct ExactMarginals {
  double log_partition = 0;  ///< natural logarithm of the sum over all assignments that agree with the evidence
  bool possible = true;
  std::vector<std::vector<double>> variables;  ///< observed ones too
  std::vector<std::vector<double>> factors;
  std::int64_t width = 0;
  double bytes = 0;
};

/// By junction tree: all marginals in one calibration. @throws NumericalError with width and memory where the tables
/// would need more than the limit; what validate() throws.
ExactMarginals exact_marginals(const DiscreteModel& model, const Evidence& evidence = {},
                               const CliqueTreeOptions& options = {});
/// The log-partition alone: half the work.
double exact_log_partition(const DiscreteModel& model, const Evidence& evidence = {},
                           const CliqueTreeOptions& options = {});
/// The most probable assignment given the evidence.
ExactMaximum exact_maximum(const DiscreteModel& model, const Evidence& evidence = {},
                           const CliqueTreeOptions& options = {});

/// The same by walking through all assignments of the unobserved variables, at most `limit`.
/// @throws NumericalError with their number beyond the limit.
ExactMarginals enumerate_marginals(const DiscreteModel& model, const Evidence& evidence = {}, double limit = 1 << 22);
ExactMaximum enumerate_maximum(const DiscreteModel& model, const Evidence& evidence = {}, double limit = 1 << 22);

}  // namespace tapestry
