#pragma once

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <vector>

#include <tapestry/prob/inference/clique_tree.hpp>
#include <tapestry/prob/inference/table_product.hpp>
#include <tapestry/prob/kernels/tables.hpp>

// What the files of clique propagation share.
namespace tapestry {
namespace detail {

inline constexpr double impossible_logarithm = -std::numeric_limits<double>::infinity();
// Below this many entries, joint tables of several sums are not worth forming.
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
  /// Numbers; logarithms that are summed; logarithms of which the largest is taken.
  enum class Domain { linear, logarithm, maximum };

  Workspace(const CliqueTree& tree, Domain own)
      : domain(own),
        separators(tree.separator_entries_),
        factors(tree.factor_entries_),
        log_scale(tree.cliques_.size(), 0),
        factor_range(tree.factors_.size(), 0),
        separator_range(tree.cliques_.size()),
        given(tree.cliques_.size(), nullptr) {
    if (domain != Domain::logarithm) return;
    table = detail::Buffer(tree.largest_);
    log_sums.emplace(tree.largest_);
  }

  /// From the least positive entry of a message to its largest, as logarithms.
  struct Range {
    double least = 0, largest = 0;
  };

  Domain domain;
  detail::TableProduct product;
  detail::Buffer table;  // a clique's logarithms
  std::optional<detail::TableLogSums> log_sums;
  detail::Buffer separators, factors;  // messages to the parents, and what goes into cliques
  detail::Buffer down;                 // marginals of separators
  std::vector<double> log_scale;       // of the message to the parent
  std::vector<double> factor_range;    // from the least positive entry to the largest, one
  std::vector<Range> separator_range;
  std::vector<const double*> given;  // marginals of a clique's separator, once its parent has been visited
  double log_constant = 0;
  bool possible = true;
};

}  // namespace tapestry
