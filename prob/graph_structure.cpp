#include <tapestry/prob/graph_structure.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {

Shape FactorStructure::table() const {
  switch (kind) {
    case FactorKind::table: {
      if (arity() <= most_axes) return Shape(cardinalities.begin(), cardinalities.end());
      std::int64_t entries = 1;
      for (const std::int64_t k : cardinalities) entries *= k;
      return {entries};
    }
    case FactorKind::parity:
    case FactorKind::logic_or:
    case FactorKind::logic_and:
      return {2};
    default:
      return {arity() + 1};
  }
}

std::int64_t FactorStructure::entry(const std::int64_t* states) const {
  const std::int64_t n = arity();
  if (kind == FactorKind::table) {
    std::int64_t index = 0;
    for (std::int64_t i = 0; i < n; ++i) index = index * cardinalities[static_cast<std::size_t>(i)] + states[i];
    return index;
  }
  const bool logic = kind == FactorKind::logic_or || kind == FactorKind::logic_and;
  std::int64_t ones = 0, last = -1;
  for (std::int64_t i = 0; i < n - (logic ? 1 : 0); ++i)
    if (states[i] != 0) ++ones, last = i;
  switch (kind) {
    case FactorKind::parity:
      return ones % 2;
    case FactorKind::logic_or:
      return (states[n - 1] != 0) == (ones > 0) ? 0 : 1;
    case FactorKind::logic_and:
      return (states[n - 1] != 0) == (ones == n - 1) ? 0 : 1;
    case FactorKind::cardinality:
      return ones;
    default:
      return ones > 1 ? -1 : last + 1;
  }
}

PotentialLayout PotentialLayout::of(const FactorStructure& group, const Shape& potentials) {
  const Shape table = group.table();
  const int extra = potentials.rank() - table.rank();
  bool fits = extra >= 0 && extra <= 2;
  for (int i = 0; fits && i < table.rank(); ++i) fits = potentials[extra + i] == table[i];
  PotentialLayout layout;
  layout.entries = table.elements();
  if (fits && extra >= 1) {
    const std::int64_t count = potentials[extra - 1];
    fits = count == group.factors() || (extra == 2 && count == 1);
    layout.factor_stride = count == group.factors() && count > 1 ? layout.entries : 0;
    if (extra == 2) {
      layout.batch = potentials[0];
      layout.batch_stride = count * layout.entries;
      fits = fits && layout.batch > 0;
    }
  }
  if (!fits)
    fail<ShapeError>("factor_graph", "potentials of factor group '", group.name, "' have shape ", potentials, "; ",
                     group.factors(), " factors with tables of shape ", table,
                     " need [table], [factors, table], [batch, 1, table] or [batch, factors, table]");
  return layout;
}

const VariableGroup& detail::GraphStructure::group_of(std::int64_t variable) const {
  if (variable < 0 || variable >= size()) fail<IndexError>("factor_graph", "variable ", variable, " of ", size());
  const auto next = std::upper_bound(variables.begin(), variables.end(), variable,
                                     [](std::int64_t v, const VariableGroup& group) { return v < group.first; });
  // Empty groups share their first number with the next group, which upper_bound() passes.
  return *(next - 1);
}

}  // namespace tapestry
