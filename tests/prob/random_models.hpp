#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <tapestry/prob/discrete_model.hpp>

namespace testing_models {

struct RandomModelOptions {
  int variables = 8;
  int factors = 10;
  int most_states = 4;
  int most_arity = 3;
  double zeros = 0;   ///< the probability of an entry to be zero
  double spread = 1;  ///< standard deviation of the logarithm of entries
};

/// Random scopes, repeated and empty ones among them, and random entries.
inline tapestry::DiscreteModel random_model(std::mt19937_64& random, const RandomModelOptions& options = {}) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  std::normal_distribution<double> normal(0, options.spread);
  std::uniform_real_distribution<double> uniform(0, 1);
  tapestry::DiscreteModel model;
  for (int v = 0; v < options.variables; ++v) model.cardinalities.push_back(pick(1, options.most_states));
  for (int f = 0; f < options.factors; ++f) {
    std::vector<std::int64_t> all(model.cardinalities.size());
    std::iota(all.begin(), all.end(), 0);
    std::shuffle(all.begin(), all.end(), random);
    all.resize(static_cast<std::size_t>(std::min(pick(0, options.most_arity), options.variables)));
    if (f > 0 && pick(0, 9) == 0) all = model.scopes.back();
    std::size_t size = 1;
    for (const auto v : all) size *= static_cast<std::size_t>(model.cardinalities[static_cast<std::size_t>(v)]);
    std::vector<double> table(size);
    for (double& x : table) x = uniform(random) < options.zeros ? 0 : std::exp(normal(random));
    if (*std::max_element(table.begin(), table.end()) == 0) table[0] = 1;
    model.scopes.push_back(all);
    model.tables.push_back(table);
  }
  return model;
}

inline tapestry::Evidence random_evidence(std::mt19937_64& random, const tapestry::DiscreteModel& model,
                                          double observed) {
  tapestry::Evidence evidence;
  for (std::int64_t v = 0; v < model.variables(); ++v)
    if (std::uniform_real_distribution<double>(0, 1)(random) < observed)
      evidence.push_back({v, std::uniform_int_distribution<std::int64_t>(
                                 0, model.cardinalities[static_cast<std::size_t>(v)] - 1)(random)});
  return evidence;
}

}  // namespace testing_models
