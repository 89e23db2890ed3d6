#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/graph_structure.hpp>

namespace tapestry::detail {

/// Looks for an assignment that no factor forbids, near what beliefs say: variables are set one after the other, the
/// surest first, each to its most probable state that is left; what no factor's remaining entries allow any more is
/// ruled out (generalised arc consistency: Mackworth 1977). From dead ends it goes back, and after some of them starts
/// again with the variables that were part of many (Boussemart, Hemery, Lecoutre, Sais 2004). At last each variable
/// moves to its best state in turn while the score rises.
template <class T>
class AssignmentSearch {
 public:
  /// potentials[g]: the group's, of one batch element.
  AssignmentSearch(const GraphStructure& graph, std::vector<const T*> potentials,
                   const std::vector<PotentialLayout>& layouts);

  enum class Outcome {
    found,
    none,    ///< there is no possible assignment
    unknown  ///< the search was given up
  };
  /// beliefs: of all states. Sets `states` where it finds one.
  Outcome find(const std::vector<double>& beliefs, std::vector<std::int64_t>& states);
  /// Moves each variable without evidence to its best state in turn while the score rises.
  void climb(std::vector<std::int64_t>& states) const;

 private:
  struct Factor {
    const FactorStructure* group;
    const std::int64_t* scope;
    const T* potentials;
    bool hard;  // forbids something
  };
  double potential(const Factor& factor, const std::int64_t* states) const;
  bool remove(std::size_t state, std::size_t variable);
  bool revise(std::int32_t factor);
  bool propagate();
  bool set(std::size_t variable, std::int64_t state);
  void undo(std::size_t mark);
  std::size_t next(bool by_trouble) const;
  Outcome search(std::int64_t most_dead_ends, bool by_trouble);

  std::vector<Factor> factors_;
  std::vector<std::vector<std::int32_t>> around_;  // factors of a variable
  std::vector<std::size_t> first_;                 // state of a variable, one more at the end
  std::vector<char> left_;                         // of each state, whether it is
  std::vector<std::int32_t> count_;                // of states left
  std::vector<std::size_t> owner_;                 // variable of a state
  std::vector<std::size_t> trail_;                 // states ruled out
  std::vector<std::int32_t> queue_;
  std::vector<char> queued_;
  std::vector<double> trouble_;      // of factors: dead ends
  std::vector<std::size_t> surest_;  // variables
  std::vector<double> beliefs_;
  std::vector<std::int64_t> evidence_;  // state or -1
  std::int64_t work_ = 0;
  // Scratch of revise().
  std::vector<std::int64_t> choices_, states_;
  std::vector<std::size_t> begin_, at_;
  std::vector<char> supported_;
};

extern template class AssignmentSearch<float>;
extern template class AssignmentSearch<double>;

}  // namespace tapestry::detail
