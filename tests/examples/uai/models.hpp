#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

// Models of the kinds that the UAI competitions use, made from a seed, and exact answers by a plain elimination that
// shares nothing with the library.
namespace uai_models {

struct Model {
  std::string kind = "MARKOV";
  std::vector<int> states;
  std::vector<std::vector<int>> scopes;
  std::vector<std::vector<double>> tables;
  std::vector<std::pair<int, int>> evidence;

  int variables() const { return static_cast<int>(states.size()); }
  /// Returns the number of the first of `count` new variables.
  int add_variables(int count, int cardinality) {
    states.insert(states.end(), static_cast<std::size_t>(count), cardinality);
    return variables() - count;
  }
  /// A factor whose entries are `value(states of the scope)`.
  template <class Value>
  void add(std::vector<int> scope, Value value) {
    std::vector<int> at(scope.size(), 0);
    std::vector<double> table;
    while (true) {
      table.push_back(value(at));
      std::size_t axis = scope.size();
      while (axis > 0 && ++at[axis - 1] == states[static_cast<std::size_t>(scope[axis - 1])]) at[--axis] = 0;
      if (axis == 0) break;
    }
    scopes.push_back(std::move(scope));
    tables.push_back(std::move(table));
  }
};

struct Answers {
  double log10_partition = 0;
  std::vector<std::vector<double>> marginals;
  std::vector<int> best;
};

/// @throws std::runtime_error where a table would have more than 2^20 entries.
Answers solve(const Model& model);

/// The text of a model, and of its evidence; `style` picks among ways of writing the same.
std::string format(const Model& model, int style);
std::string format_evidence(const Model& model, int style);

struct Instance {
  std::string name;
  Model model;
};
/// Of unusual kinds: logic circuits, large noisy-or tables, separate parts of mixed cardinalities, ties, sparse graphs.
std::vector<Instance> odd_models(std::uint64_t seed, bool large);
/// Of all kinds, small enough for solve().
std::vector<Instance> small_models(std::uint64_t seed);
/// Of the sizes of the competitions.
std::vector<Instance> large_models(std::uint64_t seed);

}  // namespace uai_models
