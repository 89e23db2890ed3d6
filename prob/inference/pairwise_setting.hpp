#pragma once

#include <memory>
#include <utility>

#include <tapestry/prob/inference/pairwise_passing.hpp>
#include <tapestry/prob/saved_structure.hpp>

namespace tapestry::detail {

/// What an operation of iterations by the pairwise kernels consists of, beside what it tells.
template <class Options>
struct PairwiseSetting {
  std::shared_ptr<const PairwisePlan> plan;
  Options options;
  std::int64_t batch;  ///< 0 without a batch axis
  bool keep;           ///< whether there will be a gradient

  PairwiseSetting(std::shared_ptr<const PairwisePlan> chosen, Options given, std::int64_t size, bool kept)
      : plan(std::move(chosen)), options(std::move(given)), batch(size), keep(kept) {}
  /// Reads it.
  explicit PairwiseSetting(Attributes& a) : PairwiseSetting(nullptr, Options(), 0, true) { exchange(a); }

  void exchange(Attributes& a) {
    auto structure = plan ? plan->structure() : nullptr;
    detail::exchange(a, structure);
    a(options.iterations), a(options.tolerance), a(options.damping), a(options.gradient), a(options.truncation);
    a(options.factor_marginals), a(batch), a(keep);
    if constexpr (requires { options.weights; }) a(options.weights);
    if (!a.reading()) return;
    require_iterations(options.iterations, options.damping);
    require_iterations(options.truncation, 0);
    Attributes::require(batch >= 0 && options.gradient >= GradientMode::unrolled &&
                        options.gradient <= GradientMode::likelihood);
    std::vector<double> weights;
    if constexpr (requires { options.weights; }) weights = options.weights;
    plan = PairwisePlan::of(structure, weights);
    Attributes::require(plan != nullptr);
  }
};

}  // namespace tapestry::detail
