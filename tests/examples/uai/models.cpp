#include "models.hpp"

#include <algorithm>
#include <cmath>

#include "random.hpp"

namespace uai_models {
namespace {

/// Ising couplings of either sign.
void couple(Model& model, Random& random, int a, int b, double strength) {
  const double j = random.between(-strength, strength);
  model.add({a, b}, [j](const States& s) { return std::exp(s[0] == s[1] ? j : -j); });
}
void field(Model& model, Random& random, int v, double strength) {
  model.add({v}, [&](const States&) { return std::exp(random.between(-strength, strength)); });
}

Model grid(Random random, int side, int states, double strength) {
  Model model;
  model.add_variables(side * side, states);
  for (int v = 0; v < side * side; ++v) field(model, random, v, strength / 4);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      if (x + 1 < side) couple(model, random, y * side + x, y * side + x + 1, strength);
      if (y + 1 < side) couple(model, random, y * side + x, (y + 1) * side + x, strength);
    }
  return model;
}

/// People with two alleles at each of several loci; which grandparent an allele comes from is linked along the loci.
/// Some phenotypes, which show the unordered pair of alleles, are seen.
Model pedigree(Random random, int people, int founders, int loci, int alleles) {
  Model model;
  model.kind = "BAYES";
  const auto same = [](const States& s) { return s[0] == s[1] ? 0.9 : 0.1; };
  std::vector<int> before;
  for (int locus = 0; locus < loci; ++locus) {
    std::vector<std::pair<int, int>> genes;
    std::vector<int> selectors;
    for (int p = 0; p < people; ++p) {
      const int first = model.add_variables(2, alleles);
      for (int side = 0; side < 2; ++side) {
        if (p < founders) {
          std::vector<double> frequency;
          double total = 0;
          for (int a = 0; a < alleles; ++a) total += frequency.emplace_back(random.between(0.1, 1));
          model.add({first + side}, [&](const States& s) { return frequency[static_cast<std::size_t>(s[0])] / total; });
          continue;
        }
        const auto parent = genes[static_cast<std::size_t>(random.below(p))];
        const int selector = model.add_variables(1, 2);
        if (locus == 0)
          model.add({selector}, [](const States&) { return 0.5; });
        else
          model.add({before[selectors.size()], selector}, same);
        selectors.push_back(selector);
        model.add({parent.first, parent.second, selector, first + side},
                  [](const States& s) { return s[3] == s[static_cast<std::size_t>(s[2])] ? 1.0 : 0.0; });
      }
      genes.emplace_back(first, first + 1);
    }
    // The phenotypes of homozygous people are possible whatever the inheritance.
    for (const auto& [mother, father] : genes)
      if (random.uniform() < 0.5) {
        const int pairs = alleles * (alleles + 1) / 2, seen = model.add_variables(1, pairs);
        model.add({mother, father, seen}, [&](const States& s) {
          const int low = std::min(s[0], s[1]), high = std::max(s[0], s[1]);
          return high * (high + 1) / 2 + low == s[2] ? 1.0 : 0.0;
        });
        model.evidence.emplace_back(seen, 0);
      }
    before = selectors;
  }
  return model;
}

/// Two layers, each variable of one joined to each of the other.
Model belief_network(Random random, int layer, double strength) {
  Model model;
  model.add_variables(2 * layer, 2);
  for (int v = 0; v < 2 * layer; ++v) field(model, random, v, strength);
  for (int a = 0; a < layer; ++a)
    for (int b = layer; b < 2 * layer; ++b) couple(model, random, a, b, strength);
  return model;
}

/// Slices in time; each variable depends on some of the slice before, observations at each step.
Model dynamic_network(Random random, int slices, int width, int states) {
  Model model;
  model.kind = "BAYES";
  for (int t = 0; t < slices; ++t)
    for (int i = 0; i < width; ++i) {
      const int v = model.add_variables(1, states);
      std::vector<int> scope = {v};
      if (t > 0) scope = {v - width, v - width - i + (i + 1) % width, v};
      if (t > 0 && width == 1) scope = {v - 1, v};
      std::vector<double> row;
      model.add(scope, [&](const States& s) {
        if (s.back() == 0) {
          row.clear();
          double total = 0;
          for (int k = 0; k < states; ++k) total += row.emplace_back(std::pow(random.uniform(), 3) + 1e-6);
          for (auto& x : row) x /= total;
        }
        return row[static_cast<std::size_t>(s.back())];
      });
      if (i == 0 && random.uniform() < 0.3) model.evidence.emplace_back(v, random.below(states));
    }
  return model;
}

/// Variables of many states, pairwise factors as far apart as exp(-range..0).
Model pairwise(Random random, int variables, int least, int most, double density, double range, bool log_normal) {
  Model model;
  for (int v = 0; v < variables; ++v) {
    model.add_variables(1, least + random.below(most - least + 1));
    model.add({v}, [&](const States&) { return std::exp(-random.between(0, range)); });
  }
  for (int b = 1; b < variables; ++b)
    for (int a = 0; a < b; ++a)
      if (a == b - 1 || random.uniform() < density)
        model.add({a, b}, [&](const States&) {
          return log_normal ? std::exp(-random.between(0, range)) : random.uniform() < 0.7 ? 1.0 : random.uniform();
        });
  return model;
}

/// Diseases, and findings that follow their parents by noisy or; some findings are seen.
Model noisy_or(Random random, int diseases, int findings, int parents) {
  Model model;
  for (int d = 0; d < diseases; ++d) {
    const double prior = std::pow(10, random.between(-3, -0.3));
    const int v = model.add_variables(1, 2);
    model.add({v}, [prior](const States& s) { return s[0] ? prior : 1 - prior; });
  }
  for (int f = 0; f < findings; ++f) {
    const int v = model.add_variables(1, 2), size = 1 + random.below(parents);
    std::vector<int> scope = {v};
    std::vector<double> off = {1 - 1e-4};
    for (int i = 0; i < size; ++i) {
      // Mostly neighbours, so that exact inference is possible.
      const int parent = (f * diseases / findings + random.below(2 * parents)) % diseases;
      if (std::count(scope.begin(), scope.end(), parent)) continue;
      scope.push_back(parent);
      off.push_back(random.between(0.01, 0.99));
    }
    model.add(scope, [&](const States& s) {
      double none = off[0];
      for (std::size_t i = 1; i < s.size(); ++i) none *= s[i] ? off[i] : 1;
      return s[0] ? 1 - none : none;
    });
    if (random.uniform() < 0.2) model.evidence.emplace_back(v, random.below(2));
  }
  return model;
}

/// Tables of zeros and ones; the assignment 0, 1, 2, 0, 1, ... is always possible.
Model constraints(Random random, int variables, int states, int count, int arity, double tightness) {
  Model model;
  model.add_variables(variables, states);
  for (int c = 0; c < count; ++c) {
    std::vector<int> scope;
    const int start = random.below(variables);
    for (int i = 0; i < arity; ++i) {
      const int v = (start + (i == 0 ? 0 : 1 + random.below(6))) % variables;
      if (!std::count(scope.begin(), scope.end(), v)) scope.push_back(v);
    }
    model.add(scope, [&](const States& s) {
      bool kept = true;
      for (std::size_t i = 0; i < s.size(); ++i) kept = kept && s[i] == scope[i] % states;
      return kept || random.uniform() > tightness ? 1.0 : 0.0;
    });
  }
  return model;
}

/// Superpixels: neighbours mostly agree.
Model segmentation(Random random, int side, int states) {
  Model model;
  model.add_variables(side * side, states);
  for (int v = 0; v < side * side; ++v) field(model, random, v, 3);
  for (int v = 0; v < side * side; ++v)
    for (const int u : {v + 1, v + side, v + side + 1}) {
      if (u >= side * side || (u != v + side && v % side == side - 1) || random.uniform() < 0.2) continue;
      const double cost = random.between(0, 4);
      model.add({v, u}, [cost](const States& s) { return s[0] == s[1] ? 1 : std::exp(-cost); });
    }
  return model;
}

/// What files may hold besides: no scope, one state, no factor, the same scope twice, orders of magnitude.
Model oddities(Random random) {
  Model model;
  for (const int k : {2, 1, 3, 2, 4, 1, 2, 5, 2}) model.add_variables(1, k);
  model.add({}, [](const States&) { return 2.5e-7; });
  model.add({}, [](const States&) { return 1e300; });
  for (const auto& scope : std::vector<std::vector<int>>{{0, 2}, {2, 0}, {0, 2}, {1}, {1, 5}, {5, 3, 1}, {3, 4, 2, 0}})
    model.add(scope, [&](const States&) { return std::pow(10, random.between(-30, 30)); });
  model.add({3, 6}, [](const States& s) { return s[0] == s[1] ? 1.0 : 0.0; });
  model.add({6}, [](const States& s) { return s[0] ? 1e-300 : 4.9406564584124654e-324; });
  model.evidence = {{1, 0}, {4, 2}, {8, 1}};
  return model;
}

}  // namespace

std::vector<Instance> small_models(std::uint64_t seed) {
  const Random random(seed);
  std::vector<Instance> out = odd_models(seed, false);
  const std::vector<Instance> usual = {{"grid", grid(random, 6, 2, 5)},
                                       {"grid_stiff", grid(random, 5, 3, 40)},
                                       {"pedigree", pedigree(random, 8, 4, 1, 3)},
                                       {"linkage", pedigree(random, 5, 3, 3, 2)},
                                       {"belief_network", belief_network(random, 6, 1.5)},
                                       {"dynamic", dynamic_network(random, 12, 3, 3)},
                                       {"hidden_chain", dynamic_network(random, 40, 1, 6)},
                                       {"alignment", pairwise(random, 7, 12, 20, 0.1, 8, true)},
                                       {"detection", pairwise(random, 5, 5, 9, 1, 4, false)},
                                       {"protein", pairwise(random, 9, 2, 40, 0.05, 60, true)},
                                       {"noisy_or", noisy_or(random, 24, 16, 4)},
                                       {"constraints", constraints(random, 16, 4, 24, 2, 0.3)},
                                       {"constraints_wide", constraints(random, 20, 2, 18, 4, 0.5)},
                                       {"segmentation", segmentation(random, 5, 3)},
                                       {"oddities", oddities(random)}};
  out.insert(out.end(), usual.begin(), usual.end());
  return out;
}

std::vector<Instance> large_models(std::uint64_t seed) {
  const Random random(seed);
  std::vector<Instance> out = odd_models(seed, true);
  const std::vector<Instance> usual = {{"grid_20", grid(random, 20, 2, 3)},
                                       {"grid_40", grid(random, 40, 2, 5)},
                                       {"grid_80", grid(random, 80, 2, 2)},
                                       {"pedigree", pedigree(random, 300, 60, 1, 4)},
                                       {"linkage", pedigree(random, 60, 20, 4, 3)},
                                       {"belief_network", belief_network(random, 60, 0.5)},
                                       {"dynamic", dynamic_network(random, 100, 6, 3)},
                                       {"dynamic_wide", dynamic_network(random, 60, 12, 4)},
                                       {"alignment", pairwise(random, 80, 50, 90, 0.05, 8, true)},
                                       {"detection", pairwise(random, 60, 11, 21, 1, 4, false)},
                                       {"protein", pairwise(random, 40, 2, 503, 0.05, 60, true)},
                                       {"noisy_or", noisy_or(random, 300, 900, 6)},
                                       {"noisy_or_wide", noisy_or(random, 60, 60, 14)},
                                       {"constraints", constraints(random, 300, 4, 900, 3, 0.1)},
                                       {"constraints_tight", constraints(random, 150, 10, 500, 2, 0.5)},
                                       {"segmentation", segmentation(random, 16, 2)},
                                       {"segmentation_21", segmentation(random, 15, 21)},
                                       {"couplings_60000", grid(random, 142, 2, 1)}};
  out.insert(out.end(), usual.begin(), usual.end());
  return out;
}

}  // namespace uai_models
