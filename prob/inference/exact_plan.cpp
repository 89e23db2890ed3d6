#include <tapestry/prob/inference/exact_plan.hpp>

#include <algorithm>
#include <bit>
#include <cmath>

#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>

namespace tapestry::detail {

std::shared_ptr<const CliqueTree> ExactPlan::tree_of(const GraphStructure& structure, const DenseTables& tables,
                                                     const CliqueTreeOptions& options) {
  constexpr std::int64_t kind = 2;  // the wiring of pairwise factors is another
  KeptPlans::Key key = {kind, static_cast<std::int64_t>(options.order.heuristic), options.order.restarts,
                        static_cast<std::int64_t>(options.order.seed),
                        std::bit_cast<std::int64_t>(options.memory_limit)};
  if (auto tree = structure.plans.find(key)) return std::static_pointer_cast<const CliqueTree>(tree);
  auto made = std::make_shared<const CliqueTree>(tables.cardinalities(), scopes_with_variables(tables),
                                                 observed(structure.evidence, false), options);
  structure.plans.keep(std::move(key), made);
  return made;
}

template <class T>
MarginalChange differentiate(const ExactPlan& plan, const std::vector<PotentialLayout>& layouts, DenseTables& tables,
                             const Directions<T>& directions, std::int64_t b, bool variables) {
  const auto& graph = *plan.structure;
  const auto states = static_cast<std::size_t>(graph.states());
  std::vector<double> direction(tables.total(), 0.0), unary(states, 0.0), entries;
  double scale = 0;
  for (std::size_t v = 0; v < graph.variables.size(); ++v) {
    if (directions.variables[v] == nullptr) continue;
    const auto n = static_cast<std::size_t>(graph.variables[v].size() * graph.variables[v].cardinality);
    for (std::size_t i = 0; i < n; ++i) {
      const auto g = static_cast<double>(directions.variables[v][static_cast<std::size_t>(b) * n + i]);
      unary[static_cast<std::size_t>(graph.variables[v].first_state) + i] = g;
      scale += std::abs(g);
    }
  }
  for (std::size_t k = 0; k < graph.factors.size(); ++k) {
    if (directions.factors[k] == nullptr) continue;
    const std::int64_t factors = graph.factors[k].factors();
    entries.resize(static_cast<std::size_t>(layouts[k].entries));
    const T* g = directions.factors[k] + b * factors * layouts[k].entries;
    for (std::int64_t f = 0; f < factors; ++f) {
      double largest = 0;
      for (double& entry : entries) {
        entry = static_cast<double>(*g++);
        largest = std::max(largest, std::abs(entry));
      }
      scale += largest;
      tables.expand(k, entries.data(),
                    direction.data() + tables.offset(k) + static_cast<std::size_t>(f) * tables.table_size(k));
    }
  }
  MarginalChange out{std::vector<double>(states, 0.0), std::vector<double>(tables.total(), 0.0)};
  if (scale == 0) return out;
  // The whole direction moves the score of an assignment by at most `scale`.
  const double step = 0.05 / scale;
  const std::vector<double> base = tables.values();
  std::vector<double> moved(states);
  for (const auto& [place, weight] : {std::pair{1, 3.0 / 4}, {2, -3.0 / 20}, {3, 1.0 / 60}})
    for (const double sign : {1.0, -1.0}) {
      tables.set_values(base);
      tables.add(direction, sign * place * step);
      for (std::size_t i = 0; i < states; ++i) moved[i] = sign * place * step * unary[i];
      const ExactSums sums =
          plan.tree->sums(plan.pointers(tables, moved.data()), TableScale::logarithm, plan.states, variables, true);
      if (!sums.possible) break;
      for (std::size_t i = 0; i < out.factors.size(); ++i) out.factors[i] += sign * weight / step * sums.factors[i];
      for (std::size_t i = 0; variables && i < states; ++i)
        out.variables[i] += sign * weight / step * sums.variables[i];
    }
  tables.set_values(base);
  return out;
}

Shape whole_shape(const FactorStructure& group, std::int64_t batch) {
  Shape out;
  if (batch > 0) out.push_back(batch);
  out.push_back(group.factors());
  for (const std::int64_t extent : group.table()) out.push_back(extent);
  return out;
}
Shape whole_shape(const VariableGroup& group, std::int64_t batch) {
  Shape out;
  if (batch > 0) out.push_back(batch);
  for (const std::int64_t extent : group.shape) out.push_back(extent);
  out.push_back(group.cardinality);
  return out;
}

template <class T>
Var<T> expand_potentials(const FactorStructure& group, const Var<T>& x, std::int64_t batch) {
  const auto layout = PotentialLayout::of(group, x.shape());
  const Shape whole = whole_shape(group, batch);
  Shape aligned = whole;
  if (batch > 0 && layout.batch == 0) aligned[0] = 1;
  if (layout.factor_stride == 0) aligned[batch > 0 ? 1 : 0] = 1;
  return broadcast_to(reshape(x, aligned), whole);
}
template <class T>
Var<T> reduce_potentials(const FactorStructure& group, const Var<T>& x, const Shape& shape, std::int64_t batch) {
  const auto layout = PotentialLayout::of(group, shape);
  Shape aligned = x.shape();
  if (batch > 0 && layout.batch == 0) aligned[0] = 1;
  if (layout.factor_stride == 0) aligned[batch > 0 ? 1 : 0] = 1;
  return reshape(sum_to(x, aligned), shape);
}

#define TAPESTRY_INSTANTIATE(T)                                                                              \
  template MarginalChange differentiate(const ExactPlan&, const std::vector<PotentialLayout>&, DenseTables&, \
                                        const Directions<T>&, std::int64_t, bool);                           \
  template Var<T> expand_potentials(const FactorStructure&, const Var<T>&, std::int64_t);                    \
  template Var<T> reduce_potentials(const FactorStructure&, const Var<T>&, const Shape&, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
