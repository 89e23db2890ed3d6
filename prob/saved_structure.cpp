#include <tapestry/prob/saved_structure.hpp>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/grid.hpp>
#include <tapestry/prob/register_operations.hpp>

namespace tapestry {
namespace detail {
namespace {

constexpr std::int64_t most = std::int64_t{1} << 40;

template <class X, class F>
void exchange_list(Attributes& a, std::vector<X>& list, F f) {
  auto count = static_cast<std::int64_t>(list.size());
  a(count);
  if (a.reading()) {
    Attributes::require(count >= 0 && static_cast<std::size_t>(count) <= a.rest() / 16);
    list.resize(static_cast<std::size_t>(count));
  }
  for (X& x : list) f(x);
}

// Variables are numbered one group after the other.
void number(std::vector<VariableGroup>& groups) {
  std::int64_t first = 0, first_state = 0;
  for (VariableGroup& group : groups) {
    Attributes::require(group.cardinality >= 0 && group.cardinality < most / (group.size() + 1));
    group.first = first;
    group.first_state = first_state;
    first += group.size();
    first_state += group.size() * group.cardinality;
    Attributes::require(first < most && first_state < most);
  }
}

void check(const GraphStructure& graph, const FactorStructure& group) {
  Attributes::require(group.kind >= FactorKind::table && group.kind <= FactorKind::at_most_one &&
                      group.scopes.shape().rank() == 2 &&
                      group.arity() == static_cast<std::int64_t>(group.cardinalities.size()));
  for (std::int64_t i = 0; i < group.scopes.size(); ++i) {
    const std::int64_t variable = group.scopes[i];
    Attributes::require(variable >= 0 && variable < graph.size());
    const std::int64_t place = i % group.arity(), cardinality = graph.cardinality(variable);
    Attributes::require(cardinality == group.cardinalities[static_cast<std::size_t>(place)] &&
                        (group.kind == FactorKind::table || cardinality == 2));
    for (std::int64_t k = i - place; k < i; ++k) Attributes::require(group.scopes[k] != variable);
  }
  std::int64_t entries = 1;
  for (const std::int64_t k : group.cardinalities) {
    Attributes::require(k > 0 && entries < most / k);
    if (group.kind == FactorKind::table) entries *= k;
  }
  // Written out, tables stay within what a message engine can hold.
  Attributes::require(entries <= (std::int64_t{1} << 30) / (group.factors() + 1));
}

}  // namespace

namespace {

void exchange_whole(Attributes& a, std::shared_ptr<const GraphStructure>& structure) {
  GraphStructure graph = a.reading() ? GraphStructure() : *structure;
  exchange_list(a, graph.variables, [&](VariableGroup& group) { a(group.name), a(group.shape), a(group.cardinality); });
  if (a.reading()) number(graph.variables);
  exchange_list(a, graph.factors, [&](FactorStructure& group) {
    a(group.name), a(group.kind), a(group.scopes), a(group.cardinalities);
    if (a.reading()) check(graph, group);
  });
  exchange_list(a, graph.evidence, [&](Observation& seen) {
    a(seen.variable), a(seen.state);
    Attributes::require(seen.variable >= 0 && seen.variable < graph.size() && seen.state >= 0 &&
                        seen.state < graph.cardinality(seen.variable));
  });
  if (a.reading()) structure = std::make_shared<const GraphStructure>(std::move(graph));
}

}  // namespace

void exchange(Attributes& a, std::shared_ptr<const GraphStructure>& structure) {
  a.shared(structure, [&a](std::shared_ptr<const GraphStructure>& whole) { exchange_whole(a, whole); });
}

bool are_potentials(const GraphStructure& structure, const Shapes& inputs, int first, std::int64_t batch) {
  if (inputs.size() - first != static_cast<int>(structure.factors.size()) || batch < 0) return false;
  for (std::size_t g = 0; g < structure.factors.size(); ++g) {
    const PotentialLayout layout = PotentialLayout::of(structure.factors[g], inputs[first + static_cast<int>(g)]);
    if (layout.batch != 0 && layout.batch != batch) return false;
  }
  return true;
}

void require_iterations(std::int64_t iterations, double damping) {
  Attributes::require(iterations >= 0 && iterations <= std::int64_t{1} << 20 && damping >= 0 && damping < 1);
}

void exchange(Attributes& a, UnrolledOptions& options) {
  a(options.iterations), a(options.damping);
  require_iterations(options.iterations, options.damping);
}

}  // namespace detail

void register_inference_operations() {
  static const bool done = [] {
    for (const auto add :
         {detail::register_chain, detail::register_grid, detail::register_pairwise, detail::register_semi_markov,
          detail::register_entry_sums, detail::register_pairwise_passing, detail::register_pairwise_mean_field,
          detail::register_messages, detail::register_junction_tree, detail::register_mean_field,
          detail::register_gaussian_filter})
      add();
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace tapestry
