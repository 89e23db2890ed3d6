#include <algorithm>
#include <chrono>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/quality.hpp>

namespace tapestry {
namespace {

template <class T>
InferenceResult<T> find_reference(const FactorGraph<T>& graph, const CompareOptions& options, std::string& name) {
  if (options.reference) {
    name = options.reference->name();
    return (*options.reference)(graph);
  }
  try {
    name = JunctionTree::name;
    return infer(graph, JunctionTree{.memory_limit = options.memory_limit, .factor_marginals = false});
  } catch (const NumericalError&) {
    // Too wide. The long run below is the better of what is left.
    name = Gibbs::name;
    return infer(graph, Gibbs{.iterations = options.sweeps, .burn_in = options.sweeps / 10, .seed = options.seed});
  }
}

/// Short runs are repeated, as the first of all pays for memory and caches; what counts is the fastest.
template <class T>
InferenceResult<T> timed(const FactorGraph<T>& graph, const InferenceMethod& method) {
  using Clock = std::chrono::steady_clock;
  constexpr int most_runs = 5;
  constexpr std::chrono::milliseconds enough(10);
  const auto start = Clock::now();
  InferenceResult<T> result = method(graph);
  double& seconds = result.trace.seconds;
  for (int run = 1; run < most_runs && Clock::now() - start < enough; ++run)
    seconds = std::min(seconds, method(graph).trace.seconds);
  return result;
}

}  // namespace

template <class T>
Comparison compare(const FactorGraph<T>& graph, const std::vector<InferenceMethod>& methods,
                   const CompareOptions& options) {
  const NoGradients off;
  Comparison out;
  const auto reference = find_reference(graph, options, out.reference);
  if (!reference.possible) fail<NumericalError>("compare", "no assignment agrees with the evidence and all factors");
  out.exact = reference.kind == BoundKind::exact;
  for (const auto& errors : reference.standard_errors)
    for (const T e : errors) out.reference_error = std::max(out.reference_error, static_cast<double>(e));
  for (const auto& method : methods) {
    InferenceQuality quality;
    try {
      quality = inference_quality(graph, timed(graph, method), reference);
    } catch (const Error& error) {
      quality.failure = error.what();
    }
    quality.method = method.name();
    out.methods.push_back(std::move(quality));
  }
  return out;
}

template Comparison compare(const FactorGraph<float>&, const std::vector<InferenceMethod>&, const CompareOptions&);
template Comparison compare(const FactorGraph<double>&, const std::vector<InferenceMethod>&, const CompareOptions&);

}  // namespace tapestry
