#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tapestry/prob/inference/method.hpp>

namespace tapestry {

/// The largest difference between a variable's marginal and the one that a factor's marginal (a table's) has of it,
/// which is 0 where message passing has converged, and for all methods that are exact or factorise. 0 where there are
/// no marginals of factors.
template <class T>
double local_inconsistency(const FactorGraph<T>& graph, const InferenceResult<T>& result);

/// What the result is and how far it can be trusted, in words: "estimate -3.21; did not converge in 100 iterations:
/// oscillates, last change 0.31 (damping may help)".
template <class T>
std::string describe(const InferenceResult<T>& result);

/// How far one inference is off another one that is better. Errors are over all variables without evidence and all
/// batch elements.
struct InferenceQuality {
  std::string method;
  double max_error = 0;   ///< largest |difference| of a marginal probability
  double mean_error = 0;  ///< mean |difference| of all marginal probabilities
  double divergence = 0;  ///< mean over variables of KL(better || this), in nats; inf where this rules out a true state
  double log_partition = 0, log_partition_error = 0;  ///< of the first batch element; largest |difference| of all
  double standard_error = 0;                          ///< the largest of a marginal's; 0 where nothing was sampled
  double inconsistency = 0;                           ///< local_inconsistency()
  BoundKind kind = BoundKind::estimate;
  double seconds = 0;
  std::int64_t iterations = 0;
  bool converged = true, oscillates = false;
  std::string failure = {};  ///< the message where the method threw; no number counts then
};

/// @throws ShapeError where the results are of different graphs
template <class T>
InferenceQuality inference_quality(const FactorGraph<T>& graph, const InferenceResult<T>& result,
                                   const InferenceResult<T>& better);

struct CompareOptions {
  /// What errors are measured against. Default: exact where the junction tree fits the memory, else a long run of Gibbs
  /// sampling, whose log-partition is an estimate only.
  std::optional<InferenceMethod> reference = std::nullopt;
  double memory_limit = 1073741824.0;  ///< bytes, of the junction tree
  std::int64_t sweeps = 100000;        ///< of the long run that count; a tenth of them more are burnt in before
  std::uint64_t seed = 0;
};

struct Comparison {
  std::string reference;
  bool exact = false;
  double reference_error = 0;  ///< largest standard error of the reference's marginals: 0 unless it was sampled
  std::vector<InferenceQuality> methods;

  /// The numbers as text, a line for each method, and what errors are measured against.
  std::string table() const;
};

/// Runs methods on one graph and says how far each is off, and how long it took (of short runs, the fastest of five). A
/// method may occur several times with other options (say, more iterations): one of the same name is a curve of error
/// against time (models/report/quality_plot.hpp). What a method throws is noted, not thrown. @throws NumericalError
/// where the evidence is impossible
template <class T>
Comparison compare(const FactorGraph<T>& graph, const std::vector<InferenceMethod>& methods,
                   const CompareOptions& options = {});

/// Watches in training how far a cheap inference is off: every so many steps a better one runs on some of the batch.
struct MonitorOptions {
  std::int64_t every = 100;   ///< steps
  std::int64_t examples = 4;  ///< batch elements, drawn anew each time
  std::uint64_t seed = 0;
};

class InferenceMonitor {
 public:
  struct Report {
    std::int64_t step;
    InferenceQuality quality;
    bool exact = false;  ///< whether the better method was
  };
  InferenceMonitor(InferenceMethod cheap, InferenceMethod better, const MonitorOptions& options = {})
      : cheap_(std::move(cheap)), better_(std::move(better)), options_(options) {}

  /// Counts a step; on the first and every `every`th after it runs both methods, without gradients.
  template <class T>
  std::optional<Report> step(const FactorGraph<T>& graph);
  const std::vector<Report>& history() const { return history_; }
  const InferenceMethod& better() const { return better_; }
  /// All reports as text, a line for each. A plot of them: models/report/quality_plot.hpp.
  std::string table() const;

 private:
  InferenceMethod cheap_, better_;
  MonitorOptions options_;
  std::int64_t steps_ = 0;
  std::vector<Report> history_;
};

/// Some elements of a batch, as a graph of constants. @throws IndexError, GraphError for a graph without a batch
template <class T>
FactorGraph<T> batch_elements(const FactorGraph<T>& graph, const std::vector<std::int64_t>& elements);

#define TAPESTRY_EXTERN(T)                                                                               \
  extern template double local_inconsistency(const FactorGraph<T>&, const InferenceResult<T>&);          \
  extern template std::string describe(const InferenceResult<T>&);                                       \
  extern template InferenceQuality inference_quality(const FactorGraph<T>&, const InferenceResult<T>&,   \
                                                     const InferenceResult<T>&);                         \
  extern template Comparison compare(const FactorGraph<T>&, const std::vector<InferenceMethod>&,         \
                                     const CompareOptions&);                                             \
  extern template std::optional<InferenceMonitor::Report> InferenceMonitor::step(const FactorGraph<T>&); \
  extern template FactorGraph<T> batch_elements(const FactorGraph<T>&, const std::vector<std::int64_t>&);
TAPESTRY_EXTERN(float)
TAPESTRY_EXTERN(double)
#undef TAPESTRY_EXTERN

}  // namespace tapestry
