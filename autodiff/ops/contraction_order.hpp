#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace tapestry::detail {

/// Axes are numbered from 0; a set of them is one bit each.
using AxisSet = std::uint64_t;

/// In which order to contract operands pairwise so that the multiplications are few: the least possible for up to 8
/// operands, greedily beyond. Each pair (i, j), i < j, replaces operand i by the contraction and removes operand j.
/// `extents` are those of the axes, `result` the axes that are kept to the end.
std::vector<std::pair<std::size_t, std::size_t>> contraction_order(const std::vector<AxisSet>& operands, AxisSet result,
                                                                   const std::vector<std::int64_t>& extents);

}  // namespace tapestry::detail
