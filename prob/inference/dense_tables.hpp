#pragma once

#include <vector>

#include <tapestry/prob/graph_structure.hpp>

namespace tapestry::detail {

/// Of all variables, group by group.
std::vector<std::int64_t> cardinalities_of(const GraphStructure& graph);

/// A factor graph's factors as plain tables of logarithms in double, and back. Factors of other kinds than tables are
/// written out over all states.
class DenseTables {
 public:
  /// @throws NumericalError for a factor too large to be written out
  explicit DenseTables(const GraphStructure& graph);

  std::vector<std::int64_t> cardinalities() const { return cardinalities_of(graph_); }
  /// Of all groups' factors, in order.
  std::vector<std::vector<std::int64_t>> scopes() const;

  /// Fills tables() from one batch element's potentials, one pointer a group. @throws NumericalError for NaN or +inf
  template <class T>
  void load(const std::vector<const T*>& potentials, const std::vector<PotentialLayout>& layouts, std::int64_t batch);
  /// One pointer a factor.
  const std::vector<const double*>& tables() const { return pointers_; }
  /// tables() += weight times other tables of the same layout.
  void add(const std::vector<double>& direction, double weight);
  const std::vector<double>& values() const { return values_; }
  void set_values(const std::vector<double>& values) { values_ = values; }

  /// Entries of a group's factor as the potentials count them, from its written-out table: sums over states.
  void collapse(std::size_t group, const double* table, double* entries) const;
  /// The transpose: a table over all states from entries.
  void expand(std::size_t group, const double* entries, double* table) const;
  /// Entries of one written-out table of a group, and the place of a group's first among all.
  std::size_t table_size(std::size_t group) const { return sizes_[group]; }
  std::size_t offset(std::size_t group) const { return offsets_[group]; }
  std::size_t total() const { return offsets_.back(); }

 private:
  const GraphStructure& graph_;
  std::vector<std::size_t> sizes_, offsets_;
  std::vector<std::vector<std::int64_t>> entry_of_;  // of other kinds than tables: state to entry
  std::vector<double> values_;
  std::vector<const double*> pointers_;
};

}  // namespace tapestry::detail
