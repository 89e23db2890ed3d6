#include <tapestry/prob/inference/gibbs.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/cluster_mean_field.hpp>
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

/// What sweeps say of the states' probabilities, in batches. Sums are of differences to the first sweep, so that what
/// never changes has no variance at all.
class SweepMeans {
 public:
  explicit SweepMeans(std::size_t states)
      : sweep_(states), origin_(states), sum_(states), batch_(states), squares_(states), means_(states) {}

  /// What a sweep adds its probabilities to.
  double* begin_sweep() {
    std::fill(sweep_.begin(), sweep_.end(), 0.0);
    return sweep_.data();
  }
  void end_sweep() {
    if (sweeps_ == 0) origin_ = sweep_;
    for (std::size_t s = 0; s < sweep_.size(); ++s) {
      const double x = sweep_[s] - origin_[s];
      batch_[s] += x;
      squares_[s] += x * x;
    }
    ++sweeps_;
    ++in_batch_;
  }
  void end_batch() {
    for (std::size_t s = 0; s < batch_.size(); ++s) {
      const double mean = batch_[s] / static_cast<double>(in_batch_);
      sum_[s] += batch_[s];
      means_[s] += mean * mean;
      batch_[s] = 0;
    }
    in_batch_ = 0;
    ++batches_;
  }
  double mean(std::size_t s) const { return origin_[s] + shift(s); }
  /// By the spread of the batches' means.
  double error(std::size_t s) const {
    if (batches_ < 2) return std::numeric_limits<double>::infinity();
    const auto n = static_cast<double>(batches_);
    return std::sqrt(std::max(means_[s] / n - shift(s) * shift(s), 0.0) / (n - 1));
  }
  /// The variance of one sweep over that of their mean. Where all sweeps say the same they are as good as independent.
  double effective(std::size_t s) const {
    const auto n = static_cast<double>(sweeps_);
    const double variance = squares_[s] / n - shift(s) * shift(s), wrong = error(s) * error(s);
    return batches_ > 1 && variance > 0 && wrong > 0 ? variance / wrong : n;
  }

 private:
  double shift(std::size_t s) const { return sum_[s] / static_cast<double>(sweeps_); }

  std::vector<double> sweep_, origin_, sum_, batch_, squares_, means_;
  std::int64_t sweeps_ = 0, in_batch_ = 0, batches_ = 0;
};

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
  if (options.blocks == GibbsBlocks::trees) sampler.set_blocks(sampler.trees(), options.memory_limit);
  if (options.blocks == GibbsBlocks::blocked)
    sampler.set_blocks(options.given.empty() ? detail::members_of(detail::partition_clusters(
                                                   cardinalities, scopes, options.block_size, options.memory_limit))
                                             : options.given,
                       options.memory_limit);
  const auto sweep = [&](double* sums_of) {
    if (options.blocks == GibbsBlocks::chromatic)
      sampler.chromatic_sweep(sums_of);
    else if (options.blocks == GibbsBlocks::single)
      sampler.sweep(sums_of);
    else
      sampler.block_sweep(sums_of);
  };
  for (std::int64_t i = 0; i < options.burn_in; ++i) sweep(nullptr);
  SweepMeans means(states);
  const std::int64_t batches = std::min(batches_of_means, options.iterations);
  double score_sum = 0;
  for (std::int64_t batch = 0; batch < batches; ++batch) {
    const std::int64_t begin = batch * options.iterations / batches, end = (batch + 1) * options.iterations / batches;
    for (std::int64_t i = begin; i < end; ++i) {
      sweep(means.begin_sweep());
      means.end_sweep();
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
    means.end_batch();
  }
  std::vector<double> mean(states);
  for (std::size_t s = 0; s < states; ++s) {
    mean[s] = means.mean(s);
    result.errors.push_back(means.error(s));
    result.effective.push_back(means.effective(s));
  }
  std::size_t begin_of = 0;
  for (const std::int64_t k : cardinalities) {
    double total = 0;
    for (std::int64_t i = 0; i < k; ++i) total += mean[begin_of + static_cast<std::size_t>(i)];
    for (std::int64_t i = 0; i < k; ++i) mean[begin_of++] /= total;
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
  if (options.block_size < 1) fail<NumericalError>("gibbs", "blocks of ", options.block_size, " variables");
  return detail::infer_plainly<T>(graph, "gibbs", BoundKind::estimate, detail::PlainGradient::none,
                                  [options](const DenseTables& tables, const GraphStructure& structure,
                                            InferenceTrace* trace, std::uint64_t batch) {
                                    return run(tables, structure, options, options.seed + 0x9e3779b97f4a7c15 * batch,
                                               trace);
                                  });
}

template InferenceResult<float> infer(const FactorGraph<float>&, const Gibbs&);
template InferenceResult<double> infer(const FactorGraph<double>&, const Gibbs&);

}  // namespace tapestry
