#include <tapestry/prob/inference/gibbs.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/gibbs_sampler.hpp>
#include <tapestry/prob/inference/plain_result.hpp>

namespace tapestry {
namespace {

using detail::DenseTables;
using detail::GibbsSampler;
using detail::GraphStructure;
using detail::PlainResult;

constexpr std::int64_t batches_of_means = 20;

double entropy(const double* p, std::size_t n) {
  double total = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (p[i] > 0) total -= p[i] * std::log(p[i]);
  return total;
}

PlainResult run(const DenseTables& tables, const GraphStructure& graph, const Gibbs& options, std::uint64_t seed,
                InferenceTrace* trace) {
  const auto cardinalities = tables.cardinalities();
  const auto scopes = tables.scopes();
  GibbsSampler sampler(cardinalities, scopes, tables.tables(), graph.evidence, seed);
  PlainResult result;
  const auto states = static_cast<std::size_t>(graph.states());
  std::vector<std::size_t> first = {0};
  for (const auto& scope : scopes) {
    std::size_t size = 1;
    for (const std::int64_t v : scope) size *= static_cast<std::size_t>(cardinalities[static_cast<std::size_t>(v)]);
    first.push_back(first.back() + size);
  }
  auto factors = std::make_shared<std::vector<double>>(first.back(), 0.0);
  result.converged = sampler.find_possible(options.search);
  result.assignment = sampler.state();
  double best = sampler.score();
  const auto sweep = [&](double* sums_of) {
    if (options.blocks == GibbsBlocks::chromatic)
      sampler.chromatic_sweep(sums_of);
    else if (options.blocks == GibbsBlocks::trees)
      sampler.tree_sweep(sums_of);
    else
      sampler.sweep(sums_of);
  };
  for (std::int64_t i = 0; i < options.burn_in; ++i) sweep(nullptr);
  std::vector<double> mean(states, 0.0), square(states, 0.0), sums(states);
  const std::int64_t batches = std::min(batches_of_means, options.iterations);
  double score_sum = 0;
  for (std::int64_t batch = 0; batch < batches; ++batch) {
    std::fill(sums.begin(), sums.end(), 0.0);
    const std::int64_t begin = batch * options.iterations / batches, end = (batch + 1) * options.iterations / batches;
    for (std::int64_t i = begin; i < end; ++i) {
      sweep(sums.data());
      double score = 0;
      for (std::size_t f = 0; f < scopes.size(); ++f) {
        const std::size_t entry = sampler.entry(f);
        (*factors)[first[f] + entry] += 1.0 / static_cast<double>(options.iterations);
        score += tables.tables()[f][entry];
      }
      score_sum += score / static_cast<double>(options.iterations);
      if (score > best) {
        best = score;
        result.assignment = sampler.state();
      }
    }
    for (std::size_t s = 0; s < states; ++s) {
      const double p = sums[s] / static_cast<double>(end - begin);
      mean[s] += p * static_cast<double>(end - begin) / static_cast<double>(options.iterations);
      square[s] += p * p;
    }
  }
  std::size_t begin_of = 0;
  for (const std::int64_t k : cardinalities) {
    double total = 0;
    for (std::int64_t i = 0; i < k; ++i) total += mean[begin_of + static_cast<std::size_t>(i)];
    for (std::int64_t i = 0; i < k; ++i) mean[begin_of++] /= total;
  }
  result.errors.assign(states, 0.0);
  for (std::size_t s = 0; s < states && batches > 1; ++s) {
    const auto n = static_cast<double>(batches);
    result.errors[s] = std::sqrt(std::max(square[s] / n - mean[s] * mean[s], 0.0) / (n - 1));
  }
  sampler.set(result.assignment);
  sampler.climb();
  result.assignment = sampler.state();

  // Bethe: expected score, and entropies of factors less those that are counted more than once.
  result.log_partition = score_sum;
  std::vector<double> count(cardinalities.size(), 1.0);
  for (std::size_t f = 0; f < scopes.size(); ++f) {
    result.log_partition += entropy(factors->data() + first[f], first[f + 1] - first[f]);
    for (const std::int64_t v : scopes[f]) count[static_cast<std::size_t>(v)] -= 1;
  }
  std::size_t at = 0;
  for (std::size_t v = 0; v < cardinalities.size(); at += static_cast<std::size_t>(cardinalities[v++]))
    result.log_partition += count[v] * entropy(mean.data() + at, static_cast<std::size_t>(cardinalities[v]));
  result.variables = std::move(mean);
  result.factor = [factors, first](std::size_t f, double* out) {
    std::copy(factors->begin() + static_cast<std::ptrdiff_t>(first[f]),
              factors->begin() + static_cast<std::ptrdiff_t>(first[f + 1]), out);
  };
  if (trace != nullptr) {
    trace->iterations = options.iterations + options.burn_in;
    trace->updates = trace->iterations * static_cast<std::int64_t>(cardinalities.size());
  }
  return result;
}

}  // namespace

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const Gibbs& options) {
  if (options.iterations < 1 || options.burn_in < 0)
    fail<NumericalError>("gibbs", options.iterations, " sweeps after ", options.burn_in);
  return detail::infer_plainly<T>(
      graph, "gibbs", BoundKind::estimate, false,
      [&](const DenseTables& tables, const GraphStructure& structure, InferenceTrace* trace, std::uint64_t batch) {
        return run(tables, structure, options, options.seed + 0x9e3779b97f4a7c15 * batch, trace);
      });
}

template InferenceResult<float> infer(const FactorGraph<float>&, const Gibbs&);
template InferenceResult<double> infer(const FactorGraph<double>&, const Gibbs&);

}  // namespace tapestry
