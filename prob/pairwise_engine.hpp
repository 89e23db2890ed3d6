#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <tapestry/prob/kernels/pairwise_beliefs.hpp>
#include <tapestry/prob/kernels/pairwise_probabilities.hpp>
#include <tapestry/prob/pairwise_schedule.hpp>
#include <tapestry/prob/pool_buffer.hpp>

namespace tapestry::detail {

/// The wiring of pairwise factors: factor f joins the variables first[f] and second[f].
class PairwiseWiring {
 public:
  /// The arrays are copied.
  PairwiseWiring(std::size_t variables, std::size_t factors, const std::int64_t* first, const std::int64_t* second);
  PairwiseGraph graph(std::size_t states) const;
  std::size_t variables() const { return offsets_.size() - 1; }
  std::size_t factors() const { return first_.size(); }

 private:
  PairwiseSchedule::Numbers<std::int64_t> first_, second_, offsets_, incident_;
};

/// Log-potentials: unary [variables, states]; the potential of factor f is at potentials + index[f] * states^2 (f
/// itself without an index).
template <class T>
struct PairwiseInput {
  const T* unary;
  const T* potentials;
  const std::int64_t* index;
};

/// All messages after one iteration, with the cavities that the next one is made of.
template <class T>
struct PairwiseMessages {
  PoolBuffer<T> messages, cavities;
};

/// Gradients on their way back through the iterations.
template <class T>
struct PairwiseGradients {
  PoolBuffer<T> unary;    ///< [variables, states], complete at the end
  PoolBuffer<T> beliefs;  ///< of the variables' unnormalised log-beliefs
  PoolBuffer<T> messages, cavities, carry, pairs;
};

/// Runs the kernels of pairwise belief propagation, factors and variables split among the threads.
template <class T>
class PairwiseBeliefPropagationEngine {
 public:
  using Kernels = PairwiseBeliefPropagationKernels<T>;
  using Probabilities = PairwiseProbabilityKernels<T>;
  using Beliefs = PairwiseBeliefKernels<T>;
  static constexpr std::size_t most_states = 64;

  /// Without kernels for probabilities everything is computed in logarithms.
  PairwiseBeliefPropagationEngine(std::shared_ptr<const PairwiseWiring> wiring, std::size_t states,
                                  const Kernels& kernels = detail::kernels<Kernels>(),
                                  const Probabilities* probabilities = &detail::kernels<Probabilities>(),
                                  const Beliefs& beliefs = detail::kernels<Beliefs>())
      : kernels_(&kernels),
        probabilities_(probabilities),
        beliefs_(&beliefs),
        wiring_(std::move(wiring)),
        graph_(wiring_->graph(states)) {}

  /// A positive counting number for each factor (none: ones), for potentials that were divided by it: beliefs are made
  /// of that much of a factor's messages. All is then computed in logarithms. Comes before prepare().
  void set_weights(const std::vector<double>& weights);
  /// Comes before all else: chooses between probabilities and logarithms. Later calls are given the same numbers.
  void prepare(const PairwiseInput<T>& in, T damping);
  /// Uniform messages.
  void start(PairwiseMessages<T>& at) const;
  /// Returns the largest change of a message's probability if it is `measured`. With `spend` the memory of the old
  /// messages may become that of the new ones: step_backward() without damping needs only the cavities.
  T step(const PairwiseInput<T>& in, PairwiseMessages<T>& from, PairwiseMessages<T>& to, bool measured = false,
         bool spend = false) const;
  /// Whether messages are probabilities, so that renew() may be called.
  bool in_probabilities() const { return in_probabilities_; }
  /// The same step in place, which leaves no cavities. Returns the largest change of a message's probability.
  T renew(PairwiseMessages<T>& at);
  /// Fills in the cavities of messages.
  void find_cavities(const PairwiseInput<T>& in, PairwiseMessages<T>& at) const;
  /// The largest change of a message's probability.
  T change(const PairwiseMessages<T>& a, const PairwiseMessages<T>& b) const;

  /// log_marginals [variables, states].
  void read(const PairwiseInput<T>& in, const PairwiseMessages<T>& at, T* log_marginals) const;
  /// Probabilities [count, states, states] of factors one after the other.
  struct FactorPart {
    std::size_t count;
    T* probabilities;
  };
  /// The same, with probabilities of the factors in parts that together are all, or of none if empty.
  /// @return Bethe's estimate of the log-partition
  double read(const PairwiseInput<T>& in, const PairwiseMessages<T>& at, T* log_marginals,
              const std::vector<FactorPart>& factors) const;

  /// Gradients from that of log_marginals.
  PairwiseGradients<T> from_log_marginals(const T* log_marginals, const T* grad) const;
  /// Gradients from those of the log-partition and of probabilities of variables and factors (null for none), through
  /// the beliefs alone: messages are constants. factor_probabilities may be null if only variables have gradients.
  PairwiseGradients<T> from_beliefs(const T* log_marginals, const T* factor_probabilities, T grad_log_partition,
                                    const T* grad_variables, const T* grad_factors) const;
  /// Makes gradients ready to go back through iterations. Adds to unary what the cavities of the factors' beliefs give.
  void enter(PairwiseGradients<T>& g) const;
  /// Through the step between two sets of messages. Without `further` what comes before it counts as constant.
  void step_backward(const PairwiseInput<T>& in, const PairwiseMessages<T>& from, const PairwiseMessages<T>& to,
                     PairwiseGradients<T>& g, bool further = true) const;
  /// The largest gradient still on its way.
  T remaining(const PairwiseGradients<T>& g) const;
  /// grad_potentials [potential_count, states, states], overwritten.
  void collect(const PairwiseGradients<T>& g, const std::int64_t* index, std::size_t potential_count,
               T* grad_potentials) const;

  /// The gradients [count, states, states] of factors from `first` on that have potentials of their own, overwritten.
  void collect_own(const PairwiseGradients<T>& g, std::size_t first, std::size_t count, T* grad_potentials) const;

  std::size_t variables() const { return graph_.variables; }
  std::size_t states() const { return graph_.states; }

 private:
  std::size_t blocks() const { return (graph_.factors + kernels_->lanes - 1) / kernels_->lanes; }
  std::size_t message_elements() const { return blocks() * 2 * graph_.states * kernels_->lanes; }
  std::size_t block_grain() const { return 16384 / (kernels_->lanes * graph_.states * graph_.states); }
  std::size_t variable_grain() const { return 4096 / graph_.states; }
  std::size_t belief_elements() const { return graph_.variables * graph_.states; }
  /// Messages as logarithms, and from them log_marginals, unnormalised ones and how many -inf are in them.
  struct Sums {
    PoolBuffer<T> logarithms, beliefs, numbers;
    const T* messages = nullptr;
    T* counts = nullptr;
  };
  Sums sums(const PairwiseInput<T>& in, const PairwiseMessages<T>& at, T* log_marginals) const;
  /// The variable's own counting number: one less those of its factors.
  T count(std::size_t variable) const;
  /// Messages times their factors' counting numbers, in `scaled` unless all are one.
  const T* weighted(const T* log_messages, PoolBuffer<T>& scaled) const;
  /// Unnormalised log-beliefs, and how many -inf are in them.
  void gather(const PairwiseInput<T>& in, const T* log_messages, T* beliefs, T* counts) const;
  void find_tables(const std::int64_t* index);
  T* counts(PoolBuffer<T>& buffer) const { return infinite_ ? buffer.reserve(belief_elements()) : nullptr; }

  const Kernels* kernels_;
  const Probabilities* probabilities_;
  const Beliefs* beliefs_;
  std::shared_ptr<const PairwiseWiring> wiring_;
  PairwiseGraph graph_{};
  T damping_ = 0;
  bool infinite_ = false;  // whether messages can be -inf
  bool in_probabilities_ = false;
  PoolBuffer<T> exponentials_, range_, shift_, unary_;
  PairwiseSchedule::Numbers<std::int32_t> tables_;
  std::unique_ptr<const PairwiseSchedule> schedule_;  // of renew()
  PoolBuffer<T> slots_;
  PoolBuffer<T> weights_;  // of the factors in blocks of lanes; empty for ones
  std::vector<T> counts_;
};

extern template class PairwiseBeliefPropagationEngine<float>;
extern template class PairwiseBeliefPropagationEngine<double>;

/// A fixed number of iterations, kept for backward.
template <class T>
class PairwiseRun {
 public:
  using Engine = PairwiseBeliefPropagationEngine<T>;
  explicit PairwiseRun(Engine engine) : engine_(std::move(engine)) {}

  /// With `keep` backward may follow.
  void forward(const PairwiseInput<T>& in, int iterations, T damping, T* log_marginals, bool keep);
  /// After forward with the same numbers. grad_potentials [potential_count, states, states] may be null; all is
  /// overwritten.
  void backward(const PairwiseInput<T>& in, const T* log_marginals, const T* grad_log_marginals,
                std::size_t potential_count, T* grad_unary, T* grad_potentials) const;

 private:
  Engine engine_;
  std::vector<PairwiseMessages<T>> kept_;
};

extern template class PairwiseRun<float>;
extern template class PairwiseRun<double>;

}  // namespace tapestry::detail
