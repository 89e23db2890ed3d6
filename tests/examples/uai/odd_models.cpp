#include <algorithm>
#include <cmath>

#include "models.hpp"
#include "random.hpp"

namespace uai_models {
namespace {

/// Gates of 4 to 7 inputs, each with a random truth table as a factor of zeros and ones; some outputs are seen as they
/// are for one assignment of the inputs.
Model circuit(Random random, int inputs, int gates, int reach) {
  Model model;
  std::vector<int> value;
  for (int i = 0; i < inputs; ++i) {
    value.push_back(random.below(2));
    const double one = random.between(.1, .9);
    model.add({model.add_variables(1, 2)}, [one](const States& s) { return s[0] ? one : 1 - one; });
  }
  for (int g = 0; g < gates; ++g) {
    const int out = model.add_variables(1, 2), arity = 4 + random.below(4);
    std::vector<int> scope;
    int row = 0;
    while (static_cast<int>(scope.size()) < arity) {
      const int v = out - 1 - random.below(std::min(out, reach));
      if (std::count(scope.begin(), scope.end(), v)) continue;
      scope.push_back(v);
      row = 2 * row + value[static_cast<std::size_t>(v)];
    }
    std::vector<int> truth;
    for (int i = 0; i < 1 << arity; ++i) truth.push_back(random.below(2));
    value.push_back(truth[static_cast<std::size_t>(row)]);
    scope.push_back(out);
    model.add(scope, [&](const States& s) {
      int at = 0;
      for (int i = 0; i < arity; ++i) at = 2 * at + s[static_cast<std::size_t>(i)];
      return s.back() == truth[static_cast<std::size_t>(at)] ? 1.0 : 0.0;
    });
    if (random.uniform() < .3) model.evidence.emplace_back(out, value.back());
  }
  return model;
}

/// Findings that follow all of so many causes by noisy or: a table of 2^(causes + 1) entries each.
Model wide_noisy_or(Random random, int causes, int findings) {
  Model model;
  model.kind = "BAYES";
  for (int c = 0; c < causes; ++c) {
    const double prior = random.between(.01, .4);
    model.add({model.add_variables(1, 2)}, [prior](const States& s) { return s[0] ? prior : 1 - prior; });
  }
  for (int f = 0; f < findings; ++f) {
    std::vector<double> off;
    std::vector<int> scope;
    for (int c = 0; c < causes; ++c) {
      scope.push_back(c);
      off.push_back(random.between(.2, .99));
    }
    scope.push_back(model.add_variables(1, 2));
    model.add(scope, [&](const States& s) {
      double none = .999;
      for (std::size_t c = 0; c < off.size(); ++c) none *= s[c] ? off[c] : 1;
      return s.back() ? 1 - none : none;
    });
    if (f % 2 == 0) model.evidence.emplace_back(scope.back(), 1);
  }
  return model;
}

/// Parts that nothing joins, variables without factors among them, of 1 to `most` states.
Model islands(Random random, int parts, int most) {
  Model model;
  for (int p = 0; p < parts; ++p) {
    const int size = 1 + random.below(4), first = model.variables();
    for (int i = 0; i < size; ++i) {
      // Few are large.
      const int v = model.add_variables(1, 1 + static_cast<int>(std::pow(random.uniform(), 4) * most));
      if (i == 0) continue;
      model.add({v, first + random.below(i)}, [&](const States&) { return std::exp(random.between(-6, 0)); });
    }
    if (random.uniform() < .2) model.evidence.emplace_back(first, 0);
  }
  return model;
}

/// Neighbours agree or not, nothing else: each assignment is as good as with all its states renamed.
Model ties(Random random, int variables, int states) {
  Model model;
  model.add_variables(variables, states);
  for (int v = 1; v < variables; ++v)
    for (const int u : {v - 1, random.below(v)})
      model.add({u, v}, [&](const States& s) { return s[0] == s[1] ? 2.0 : 1.0; });
  return model;
}

/// Pairs of near variables, of both signs.
Model sparse(Random random, int variables, int edges, int reach) {
  Model model;
  model.add_variables(variables, 2);
  for (int e = 0; e < edges; ++e) {
    const int a = random.below(variables), b = (a + 1 + random.below(reach)) % variables;
    const double j = random.between(-1, 1);
    if (a != b) model.add({a, b}, [j](const States& s) { return std::exp(s[0] == s[1] ? j : -j); });
  }
  for (int v = 0; v < variables; v += 3)
    model.add({v}, [&](const States&) { return std::exp(random.between(-.5, .5)); });
  return model;
}

}  // namespace

std::vector<Instance> odd_models(std::uint64_t seed, bool large) {
  const Random random(seed);
  if (!large)
    return {{"circuit", circuit(random, 9, 8, 9)},
            {"wide_noisy_or", wide_noisy_or(random, 9, 3)},
            {"islands", islands(random, 9, 30)},
            {"ties", ties(random, 10, 3)},
            {"sparse", sparse(random, 40, 50, 6)}};
  return {{"circuit", circuit(random, 60, 400, 40)},
          {"circuit_narrow", circuit(random, 12, 300, 12)},
          {"wide_noisy_or", wide_noisy_or(random, 19, 4)},
          {"islands", islands(random, 150, 500)},
          {"ties", ties(random, 400, 4)},
          {"sparse_100000", sparse(random, 100000, 120000, 100000)},
          {"near_100000", sparse(random, 100000, 120000, 8)}};
}

}  // namespace uai_models
