#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/graph/fixed_point.hpp>
#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/message_engine.hpp>

// The operations that message passing consists of, and what its ways of running share.
namespace tapestry::detail {

// Of the equations that implicit gradients solve by iteration.
inline constexpr int most_implicit_steps = 1000;
inline constexpr double implicit_tolerance = 1e-12;
/// How many terms of their series are added up at most. Where messages did not converge it may have no limit: it is cut
/// where a term is larger than the first, and after as many terms as iterations were made, which is about the unrolled
/// gradient.
inline int implicit_steps(bool converged, std::int64_t iterations) {
  return converged ? most_implicit_steps : static_cast<int>(std::min<std::int64_t>(iterations, most_implicit_steps));
}
/// The report before any batch element's solution.
inline FixedPointReport solved_adjoint() {
  FixedPointReport report;
  report.converged = true;
  return report;
}
/// Adds one batch element's solution to the report of all: the worst is told.
void report_adjoint(FixedPointReport& all, bool messages_converged, bool converged, int steps, double residual,
                    double tolerance);

/// Potentials of an operation's inputs from `first` on.
template <class T>
struct PotentialInputs {
  std::vector<const T*> data;
  std::vector<PotentialLayout> layouts;
};

template <class T, class Context>
PotentialInputs<T> potentials_from(const GraphStructure& graph, Context& c, int first) {
  PotentialInputs<T> out;
  for (std::size_t g = 0; g < graph.factors.size(); ++g) {
    const auto input = c.input(first + static_cast<int>(g));
    out.data.push_back(input.data);
    out.layouts.push_back(PotentialLayout::of(graph.factors[g], input.shape));
  }
  return out;
}
template <class T>
PotentialInputs<T> potentials_of(const GraphStructure& graph, Forward<T>& c, int first) {
  return potentials_from<T>(graph, c, first);
}
template <class T>
PotentialInputs<T> potentials_of(const GraphStructure& graph, Backward<T>& c, int first) {
  return potentials_from<T>(graph, c, first);
}

/// The outputs of an inference: the log-partition, probabilities of each variable group, of each factor group.
struct BeliefLayout {
  const GraphStructure& graph;
  std::int64_t batch;   ///< 0 without a batch axis
  bool factors = true;  ///< whether there are the last ones

  std::int64_t batches() const { return batch > 0 ? batch : 1; }
  int outputs() const { return static_cast<int>(1 + graph.variables.size() + (factors ? graph.factors.size() : 0)); }
  bool variables(int output) const { return output >= 1 && output <= static_cast<int>(graph.variables.size()); }
  const VariableGroup& variable_group(int output) const {
    return graph.variables[static_cast<std::size_t>(output - 1)];
  }
  std::size_t factor_group(int output) const { return static_cast<std::size_t>(output - 1) - graph.variables.size(); }
  Shape shape(int output) const;
  /// Of one batch element.
  std::int64_t elements(int output) const { return shape(output).elements() / batches(); }
};

/// Weights of all factors from none, one a group, or one a factor. @throws ShapeError
std::vector<double> spread_weights(const GraphStructure& graph, const std::vector<double>& given);
/// Whether gradients are asked for.
template <class T>
bool differentiable(const FactorGraph<T>& graph);
/// A result from such outputs.
template <class T>
InferenceResult<T> result_of(const FactorGraph<T>& graph, std::vector<Var<T>> outputs);
/// Batch elements that no assignment agrees with get a log-partition of -inf and marginals of zero, without gradient.
template <class T>
void rule_out(InferenceResult<T>& result, const std::vector<bool>& impossible);
/// states: [batch * variables]. Where factors forbid them, others are looked for: see AssignmentSearch. Where there are
/// none the batch element is ruled out.
template <class T>
void set_assignment(const FactorGraph<T>& graph, InferenceResult<T>& result, const std::vector<std::int64_t>& states,
                    std::int64_t variables);
/// Sets trace.oscillates.
void judge(InferenceTrace& trace, bool converged);

/// What the operations of one inference by MessageEngine share.
struct Passing {
  Passing(std::shared_ptr<const GraphStructure> graph, const BeliefPropagation& chosen, std::vector<double> weights,
          std::int64_t batch_size)
      : structure(graph), engine(std::move(graph), chosen.temperature, weights), options(chosen), batch(batch_size) {
    options.weights = std::move(weights);
  }
  std::int64_t batches() const { return batch > 0 ? batch : 1; }
  Shape message_shape() const { return {batches(), engine.size()}; }

  std::shared_ptr<const GraphStructure> structure;
  MessageEngine engine;
  BeliefPropagation options;  ///< with the engine's weights
  std::int64_t batch;
  InferenceTrace trace;
  double last_residual = 0;
  bool converged = false;
  std::shared_ptr<FixedPointReport> adjoint = std::make_shared<FixedPointReport>();
};

/// Belief propagation with weights of all factors (none: ones). `by_factor` leaves the pairwise kernels out.
template <class T>
InferenceResult<T> pass_messages(const FactorGraph<T>& graph, const BeliefPropagation& options,
                                 std::vector<double> weights, bool by_factor = false);

void exchange(Attributes& a, std::shared_ptr<Passing>& passing);
void register_message_iterations();

template <class T>
std::vector<double> widen(const T* from, std::int64_t n) {
  return std::vector<double>(from, from + n);
}
/// Adds gradients of each factor's own potentials to those of the tensors that they share.
template <class T>
void add_potential_gradients(const MessageEngine& engine, Backward<T>& c, int first, const PotentialInputs<T>& inputs,
                             std::int64_t b, const std::vector<double>& gradients);

/// First messages from the potentials.
template <class T>
std::unique_ptr<Operation<T>> start_messages(std::shared_ptr<Passing> passing);
/// One flooding iteration. Inputs: messages [batch, all], potentials.
template <class T>
std::unique_ptr<Operation<T>> message_step(std::shared_ptr<Passing> passing);
/// Messages iterated by any schedule until they stay. Inputs: potentials. With `keep` there will be a gradient: of the
/// fixed point, or (of schedules other than flooding) through the iterations, as the options say.
template <class T>
std::unique_ptr<Operation<T>> message_iterations(std::shared_ptr<Passing> passing, bool keep);
/// Inputs: messages, potentials. Outputs as BeliefLayout has them.
template <class T>
std::unique_ptr<Operation<T>> read_messages(std::shared_ptr<Passing> passing);

}  // namespace tapestry::detail
