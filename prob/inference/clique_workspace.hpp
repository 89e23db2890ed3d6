#pragma once

#include <algorithm>
#include <iterator>
#include <limits>
#include <vector>

#include <tapestry/prob/inference/clique_tree.hpp>
#include <tapestry/prob/kernels/tables.hpp>

// What the files of clique propagation share.
namespace tapestry {
namespace detail {

inline constexpr double impossible_logarithm = -std::numeric_limits<double>::infinity();
// Below this many entries, products of small factors are not worth forming apart.
inline constexpr std::size_t small_table = 512;

/// Calls visit(offset, count, stride) for the innermost axis at each setting of the outer ones.
template <class Visit>
void for_each_row(const std::vector<std::size_t>& sizes, const std::vector<std::size_t>& strides, Visit visit) {
  if (sizes.empty()) return visit(std::size_t{0}, std::size_t{1}, std::size_t{1});
  const std::size_t axes = sizes.size();
  std::vector<std::size_t> index(axes, 0);
  std::size_t offset = 0;
  while (true) {
    visit(offset, sizes.back(), strides.back());
    std::size_t axis = axes - 1;
    while (axis > 0) {
      --axis;
      offset += strides[axis];
      if (++index[axis] < sizes[axis]) break;
      offset -= strides[axis] * sizes[axis];
      index[axis] = 0;
      if (axis == 0) return;
    }
    if (axes == 1) return;
  }
}

inline TableScope join(const TableScope& a, const TableScope& b) {
  TableScope out;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

/// A part of a clique's scope, and whose it is.
struct ScopePart {
  const TableScope* scope;
  std::size_t size;
  std::int32_t owner;
};
/// The union of several parts.
struct ScopeGroup {
  TableScope scope;
  std::size_t size;
  std::vector<std::int32_t> members;
};
/// Parts together, as long as their union is well below the table of `whole` entries; large ones first.
std::vector<ScopeGroup> scope_groups(std::vector<ScopePart> parts, std::size_t whole,
                                     const std::vector<std::size_t>& cardinalities);

}  // namespace detail

struct CliqueTree::Workspace {
  Workspace(const CliqueTree& tree, detail::TableAlgebra::Domain domain)
      : algebra(domain, tree.largest_),
        tables(tree.table_entries_),
        separators(tree.separator_entries_),
        factors(tree.factor_entries_),
        log_scale(tree.cliques_.size(), 0),
        factor_range(tree.factors_.size(), 0),
        separator_range(tree.cliques_.size(), 0) {}

  detail::TableAlgebra algebra;
  detail::Buffer tables, separators, factors;
  std::vector<double> log_scale;  // of the message to the parent
  std::vector<double> factor_range, separator_range;
  double log_constant = 0;
  bool possible = true;
};

}  // namespace tapestry
