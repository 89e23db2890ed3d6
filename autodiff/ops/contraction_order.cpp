#include <tapestry/autodiff/ops/contraction_order.hpp>

#include <algorithm>
#include <functional>
#include <limits>

namespace tapestry::detail {
namespace {

using Pairs = std::vector<std::pair<std::size_t, std::size_t>>;

constexpr std::size_t most_for_all_orders = 8;

double size_of(AxisSet axes, const std::vector<std::int64_t>& extents) {
  double size = 1;
  for (std::size_t i = 0; i < extents.size(); ++i)
    if ((axes >> i & 1) != 0) size *= static_cast<double>(extents[i]);
  return size;
}

// By the cheapest way to contract every subset of the operands.
Pairs best_of_all(const std::vector<AxisSet>& operands, AxisSet result, const std::vector<std::int64_t>& extents) {
  const std::size_t n = operands.size(), subsets = std::size_t{1} << n;
  std::vector<AxisSet> inside(subsets, 0), left_over(subsets, 0);
  for (std::size_t s = 1; s < subsets; ++s)
    for (std::size_t i = 0; i < n; ++i)
      if ((s >> i & 1) != 0) inside[s] |= operands[i];
  for (std::size_t s = 1; s < subsets; ++s) left_over[s] = inside[s] & (result | inside[subsets - 1 - s]);
  std::vector<double> cost(subsets, std::numeric_limits<double>::infinity());
  std::vector<std::size_t> best(subsets, 0);
  for (std::size_t i = 0; i < n; ++i) cost[std::size_t{1} << i] = 0;
  for (std::size_t s = 1; s < subsets; ++s)
    for (std::size_t part = (s - 1) & s; part > 0; part = (part - 1) & s) {
      const std::size_t other = s ^ part;
      if (part < other) break;
      const double total = cost[part] + cost[other] + size_of(left_over[part] | left_over[other], extents);
      if (total < cost[s]) cost[s] = total, best[s] = part;
    }
  Pairs order;
  // The place of a contracted subset is that of its first operand; places shift as later ones are removed.
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < n; ++i) places.push_back(i);
  const std::function<std::size_t(std::size_t)> contract = [&](std::size_t s) -> std::size_t {
    if (best[s] == 0) {
      std::size_t i = 0;
      while ((s >> i & 1) == 0) ++i;
      return i;
    }
    const auto [i, j] = std::minmax({contract(best[s]), contract(s ^ best[s])});
    const auto at = [&](std::size_t operand) {
      return static_cast<std::size_t>(std::find(places.begin(), places.end(), operand) - places.begin());
    };
    order.emplace_back(at(i), at(j));
    places.erase(std::find(places.begin(), places.end(), j));
    return i;
  };
  contract(subsets - 1);
  return order;
}

// Always the pair whose contraction adds least to what has to be held, then the cheapest.
Pairs greedy(std::vector<AxisSet> operands, AxisSet result, const std::vector<std::int64_t>& extents) {
  Pairs order;
  while (operands.size() > 1) {
    std::pair<double, double> least{std::numeric_limits<double>::infinity(), 0};
    std::pair<std::size_t, std::size_t> best{0, 1};
    AxisSet best_axes = 0;
    for (std::size_t i = 0; i < operands.size(); ++i)
      for (std::size_t j = i + 1; j < operands.size(); ++j) {
        AxisSet outside = result;
        for (std::size_t k = 0; k < operands.size(); ++k)
          if (k != i && k != j) outside |= operands[k];
        const AxisSet all = operands[i] | operands[j], kept = all & outside;
        const std::pair<double, double> cost{
            size_of(kept, extents) - size_of(operands[i], extents) - size_of(operands[j], extents),
            size_of(all, extents)};
        if (cost < least) least = cost, best = {i, j}, best_axes = kept;
      }
    order.push_back(best);
    operands[best.first] = best_axes;
    operands.erase(operands.begin() + static_cast<std::ptrdiff_t>(best.second));
  }
  return order;
}

}  // namespace

Pairs contraction_order(const std::vector<AxisSet>& operands, AxisSet result,
                        const std::vector<std::int64_t>& extents) {
  if (operands.size() < 2) return {};
  return operands.size() <= most_for_all_orders ? best_of_all(operands, result, extents)
                                                : greedy(operands, result, extents);
}

}  // namespace tapestry::detail
