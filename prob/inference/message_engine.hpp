#pragma once

#include <memory>
#include <vector>

#include <tapestry/prob/graph_structure.hpp>

namespace tapestry::detail {

/// Message passing on a factor graph, one batch element at a time, in logarithms of double precision.
///
/// Messages go from factors to variables; all of them are one array: group by group, factor by factor, place by place
/// in the scope. With a weight w for each factor (its counting number), the message to variable i is
///   M_i(x_i) = lse over the others of [ theta / w + sum_{j != i} (S_j - M_j) ],   S_j = sum over factors of w M_j,
/// normalised to sum to one. Weights of one are belief propagation; edge appearance probabilities are tree-reweighted
/// belief propagation (Wainwright, Jaakkola, Willsky 2005); others are fractional (Wiegerinck, Heskes 2003).
class MessageEngine {
 public:
  /// `weights` has one number a factor, or is empty for ones.
  MessageEngine(std::shared_ptr<const GraphStructure> graph, double temperature, std::vector<double> weights);

  std::int64_t size() const { return size_; }
  std::int64_t factors() const { return static_cast<std::int64_t>(first_message_.size()); }
  const GraphStructure& graph() const { return *graph_; }

  /// Takes the potentials of one batch element. @throws NumericalError for NaN or +inf
  template <class T>
  void load(const std::vector<const T*>& potentials, const std::vector<PotentialLayout>& layouts, std::int64_t batch);

  /// First messages: those of unary tables, and of others that say nothing.
  std::vector<double> start() const;
  /// Adds to the gradient of the potentials.
  void start_backward(const double* gradient, double* potential_gradient) const;
  /// All messages from all old ones, damped in probabilities (logarithms at temperature 0); returns the largest change
  /// of a normalised message.
  double flood(const double* old, double damping, double* fresh);
  /// Factors one after the other in the given order, each using the newest messages. `replaced`, if not null, gets the
  /// old ones, for sweep_backward().
  double sweep(const std::vector<std::int32_t>& order, double damping, double* messages,
               std::vector<double>* replaced = nullptr);
  /// The factor whose messages would change most, again and again, as many as there are factors (Elidan, McGraw,
  /// Koller 2006). `residuals` is kept between calls; empty at the first. `order`, if not null, gets the factors in
  /// turn: sweep() does the same with them.
  double residual_sweep(std::vector<double>& residuals, double damping, double* messages,
                        std::vector<std::int32_t>* order = nullptr, std::vector<double>* replaced = nullptr);
  /// Orders for sweep().
  std::vector<std::int32_t> tree_order() const;

  /// The gradient of flood(): adds to those of the old messages and of the potentials (of each factor apart, at
  /// gradient_offset()).
  void flood_backward(const double* old, double damping, const double* fresh_gradient, double* old_gradient,
                      double* potential_gradient);

  /// The gradient of a sweep in that order: messages after it become those before it, their gradients likewise.
  void sweep_backward(const std::vector<std::int32_t>& order, const std::vector<double>& replaced, double damping,
                      double* messages, double* gradient, double* potential_gradient);

  struct Beliefs {
    double log_partition = 0;
    std::vector<double> variables;  ///< probabilities of all states
    std::vector<double> factors;    ///< of the potentials of each factor, at gradient_offset()
  };
  /// Probabilities, and the (reweighted) Bethe estimate of the log-partition in its dual form
  /// sum_i (1 - sum_f w_f) log Z_i + sum_f w_f log Z_f, which is stationary at fixed points of flood().
  Beliefs read(const double* messages);
  /// The gradient of read(): given those of the log-partition, and of the probabilities where not null.
  /// @throws GraphError for gradients of probabilities of factors other than tables
  void read_backward(const double* messages, double partition_gradient, const double* variable_gradient,
                     const double* factor_gradient, double* message_gradient, double* potential_gradient);

  /// Place of a factor's potentials among those of all factors.
  std::int64_t gradient_offset(std::size_t group) const { return potential_offset_[group]; }
  std::int64_t potential_entries() const { return potential_offset_.back(); }
  /// The state with the largest belief of each variable.
  std::vector<std::int64_t> decode(const double* messages);

 private:
  struct Factor {
    const FactorStructure* group;
    std::int64_t index;  // in the group
    std::int64_t entries;
    const double* potentials;
    std::int64_t messages;  // first of its own
    double weight;
  };
  Factor factor(std::int32_t f) const;
  /// Calls visit(message, state) for each of a factor's messages (from 0) with the state that it is about.
  template <class Visit>
  void for_each_message(const Factor& f, Visit visit) const {
    const auto& states = states_at_[static_cast<std::size_t>(f.group - graph_->factors.data())];
    const std::int64_t arity = f.group->arity();
    std::int64_t message = 0;
    for (std::int64_t i = 0; i < arity; ++i) {
      std::int64_t state = states[static_cast<std::size_t>(f.index * arity + i)];
      for (std::int64_t k = 0; k < f.group->cardinalities[static_cast<std::size_t>(i)]; ++k) visit(message++, state++);
    }
  }
  void sum_messages(const double* messages);
  void change_sum(const Factor& f, const double* old, const double* fresh);
  /// Adds the gradients of messages that those of their sums give.
  void spread_sums(const double* messages, const std::vector<double>& sum_gradient, double* gradient) const;
  void cavities(const Factor& f, const double* messages, double* out) const;
  /// Messages before normalisation.
  void update(const Factor& f, const double* cavity, double* out) const;
  void update_backward(const Factor& f, const double* cavity, const double* out, const double* gradient,
                       double* cavity_gradient, double* potential_gradient) const;
  double normalize(const Factor& f, double* messages) const;
  /// Part of an update in a damped message; 1 where either is impossible.
  double share_of_update(double update, double old, double damping) const;
  double renew(const Factor& f, const double* old, double damping, double* fresh) const;
  /// The gradients of renew() from that of its messages, given the cavities: adds to those of the old messages (by
  /// damping alone), of the cavities, and of all potentials.
  void renew_backward(const Factor& f, const double* old, double damping, const double* cavity, const double* gradient,
                      double* old_gradient, double* cavity_gradient, double* potential_gradient) const;
  double log_partition_of(const Factor& f, const double* cavity, double* probabilities) const;
  std::int64_t width(const FactorStructure& group) const;

  std::shared_ptr<const GraphStructure> graph_;
  double temperature_;
  std::vector<double> weights_;
  std::vector<std::int32_t> group_of_;                // factor to group
  std::vector<std::int64_t> group_start_;             // first factor of each group
  std::vector<std::int64_t> first_message_;           // of each factor
  std::vector<std::vector<std::int64_t>> states_at_;  // of each group: state offset of each scope entry
  std::vector<std::int64_t> potential_offset_;
  std::vector<double> potentials_;    // divided by the weights
  std::vector<double> linear_;        // of pairwise tables: exponentials, scaled to a largest of one
  std::vector<double> linear_scale_;  // of each factor: the logarithm of that scale
  std::int64_t size_ = 0, widest_ = 0;
  std::vector<double> sum_;              // finite parts of S
  std::vector<std::int32_t> forbidden_;  // messages of -inf in each state
};

}  // namespace tapestry::detail
