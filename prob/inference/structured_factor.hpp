#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/graph_structure.hpp>

namespace tapestry::detail {

/// log-sum-exp at a temperature: t log sum exp(x / t), which is the maximum at 0.
class SoftMaximum {
 public:
  explicit SoftMaximum(double temperature) : temperature_(temperature) {}
  void clear() {
    largest_ = minus_infinity;
    sum_ = 0;
  }
  void add(double x);
  double value() const;
  /// The derivative of a result with respect to one of its terms.
  double weight(double x, double result) const;

  static constexpr double minus_infinity = -__builtin_inf();

 private:
  double temperature_, largest_ = minus_infinity, sum_ = 0;
};

/// Messages of a factor over binary variables whose potential depends on what a small automaton counts: one pass
/// forward and one back, linear in the number of variables times the automaton's states.
class StructuredFactor {
 public:
  /// Factors of more than `arity` states in the automaton take memory of arity^2.
  StructuredFactor(FactorKind kind, std::int64_t arity, double temperature);

  /// From log-potentials and the variables' cavities [arity, 2]: messages [arity, 2], and the log-partition.
  double forward(const double* potentials, const double* cavities, double* messages);
  /// After forward(), from gradients of messages and of the log-partition: adds to those of potentials and cavities.
  void backward(const double* message_gradients, double partition_gradient, double* potential_gradients,
                double* cavity_gradients);

 private:
  struct Step {
    std::int64_t next;   // -1: impossible
    std::int64_t entry;  // potential that the transition adds, -1 for none
  };
  Step step(std::int64_t place, std::int64_t state, std::int64_t x) const;
  std::int64_t final_entry(std::int64_t state) const;  // -1: none
  double potential(std::int64_t entry) const { return entry < 0 ? 0 : potentials_[entry]; }
  double& at(std::vector<double>& table, std::int64_t place, std::int64_t state) const {
    return table[static_cast<std::size_t>(place * states_ + state)];
  }

  FactorKind kind_;
  std::int64_t arity_, states_, start_;
  SoftMaximum soft_;
  std::vector<double> ahead_, behind_, messages_;
  const double* potentials_ = nullptr;
  const double* cavities_ = nullptr;
  double log_partition_ = 0;
};

}  // namespace tapestry::detail
