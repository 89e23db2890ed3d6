#include <tapestry/prob/inference/composed_graph.hpp>

#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/prob/entry_sums.hpp>

namespace tapestry::detail {
namespace {

/// Entries [batch * factors * K, 1] of the states at a place of each factor's scope.
Indices entries_at(const GraphStructure& graph, const FactorStructure& group, std::int64_t place, std::int64_t rows) {
  const std::int64_t factors = group.factors(), K = group.cardinalities[static_cast<std::size_t>(place)];
  IndexTensor out = empty_tensor<std::int64_t>({rows * factors * K, 1});
  std::int64_t* to = out.data();
  for (std::int64_t b = 0; b < rows; ++b)
    for (std::int64_t f = 0; f < factors; ++f) {
      const std::int64_t first = b * graph.states() + graph.state_offset(group.scopes[f * group.arity() + place]);
      for (std::int64_t k = 0; k < K; ++k) *to++ = first + k;
    }
  return Indices(std::move(out));
}

}  // namespace

template <class T>
ComposedGraph<T>::ComposedGraph(std::shared_ptr<const GraphStructure> structure, std::int64_t batch)
    : structure_(std::move(structure)), batch_(batch), rows_(batch > 0 ? batch : 1) {
  for (std::size_t g = 0; g < structure_->factors.size(); ++g) {
    const auto& group = structure_->factors[g];
    if (group.kind != FactorKind::table)
      fail<GraphError>("factor_graph", "factor group '", group.name,
                       "' is not of tables: write its factors out as tables, or take Enumeration");
    if (group.arity() > FactorStructure::most_axes)
      fail<GraphError>("factor_graph", "factor group '", group.name, "' has tables over ", group.arity(),
                       " variables; composed inference takes at most ", FactorStructure::most_axes);
    if (group.arity() < 2) continue;
    groups_.push_back({g, {}});
    for (std::int64_t place = 0; place < group.arity(); ++place)
      groups_.back().places.push_back(entries_at(*structure_, group, place, rows_));
  }
}

template <class T>
typename ComposedGraph<T>::Potentials ComposedGraph<T>::arrange(const std::vector<Var<T>>& potentials) const {
  const Shape all{rows_, structure_->states()};
  Tensor<T> seen = empty_tensor<T>(all);
  std::fill(seen.begin(), seen.end(), T(0));
  for (const auto& [variable, state] : structure_->evidence)
    for (std::int64_t k = 0; k < structure_->cardinality(variable); ++k)
      for (std::int64_t b = 0; b < rows_ && k != state; ++b)
        seen.data()[b * all[1] + structure_->state_offset(variable) + k] = -std::numeric_limits<T>::infinity();
  Potentials out{Var<T>(std::move(seen)), {}, Var<T>::zeros({1})};
  for (std::size_t g = 0; g < potentials.size(); ++g) {
    const auto& group = structure_->factors[g];
    const auto layout = PotentialLayout::of(group, potentials[g].shape());
    const bool shared = layout.factor_stride == 0 && group.factors() != 1;
    Shape full{layout.batch > 0 ? layout.batch : 1, shared ? 1 : group.factors()};
    for (const std::int64_t k : group.cardinalities) full.push_back(k);
    const Var<T> table = reshape(potentials[g], full);
    if (group.arity() == 0) {
      out.constant = out.constant + sum(table, {1}) * static_cast<T>(shared ? group.factors() : 1);
    } else if (group.arity() == 1) {
      const Var<T> whole = broadcast_to(table, Shape{rows_, group.factors(), group.cardinalities[0]});
      out.unary = out.unary +
                  spread_entries(reshape(whole, Shape{whole.size()}), entries_at(*structure_, group, 0, rows_), all);
    } else {
      out.tables.push_back(table);
    }
  }
  return out;
}

template <class T>
Var<T> ComposedGraph<T>::gather(const Var<T>& states, std::size_t group, int place) const {
  const auto& entries = groups_[group].places[static_cast<std::size_t>(place)];
  const auto& structure = structure_->factors[groups_[group].number];
  return reshape(sum_entries(states, entries),
                 Shape{rows_, structure.factors(), structure.cardinalities[static_cast<std::size_t>(place)]});
}

template <class T>
Var<T> ComposedGraph<T>::scatter(const Var<T>& messages, std::size_t group, int place) const {
  return spread_entries(reshape(messages, Shape{messages.size()}),
                        groups_[group].places[static_cast<std::size_t>(place)], Shape{rows_, structure_->states()});
}

template <class T>
Var<T> ComposedGraph<T>::spread(const Var<T>& gathered, std::size_t group, int place) const {
  Shape shape{gathered.shape()[0], gathered.shape()[1]};
  for (int i = 0; i < arity(group); ++i) shape.push_back(i == place ? gathered.shape()[2] : 1);
  return reshape(gathered, shape);
}

template <class T>
template <class F>
Var<T> ComposedGraph<T>::by_group(const Var<T>& states, F f) const {
  std::vector<Var<T>> parts;
  for (const auto& group : structure_->variables) {
    if (group.size() == 0) continue;
    const std::int64_t n = group.size() * group.cardinality;
    const Var<T> own =
        structure_->states() == n ? states : slice(states, 1, Slice{group.first_state, group.first_state + n});
    const Var<T> result = f(reshape(own, Shape{rows_, group.size(), group.cardinality}));
    parts.push_back(reshape(result, Shape{rows_, result.size() / rows_}));
  }
  return parts.size() == 1 ? parts[0] : concatenate(parts, 1);
}

template <class T>
Var<T> ComposedGraph<T>::softmax_by_variable(const Var<T>& logits) const {
  return by_group(logits, [](const Var<T>& x) { return softmax(x); });
}
template <class T>
Var<T> ComposedGraph<T>::logsumexp_by_variable(const Var<T>& logits) const {
  return by_group(logits, [](const Var<T>& x) { return logsumexp(x, {2}); });
}

template <class T>
std::vector<Var<T>> ComposedGraph<T>::by_variable_group(const Var<T>& states) const {
  std::vector<Var<T>> out;
  for (const auto& group : structure_->variables) {
    const std::int64_t n = group.size() * group.cardinality;
    Shape shape;
    if (batch_ > 0) shape.push_back(batch_);
    for (const std::int64_t extent : group.shape) shape.push_back(extent);
    shape.push_back(group.cardinality);
    out.push_back(reshape(slice(states, 1, Slice{group.first_state, group.first_state + n}), shape));
  }
  return out;
}

template <class T>
Var<T> ComposedGraph<T>::small_factor(const Var<T>& states, const FactorStructure& group) const {
  if (group.arity() == 0) return Var<T>::ones({rows_, group.factors()});
  return reshape(sum_entries(states, entries_at(*structure_, group, 0, rows_)),
                 Shape{rows_, group.factors(), group.cardinalities[0]});
}

template <class T>
Var<T> ComposedGraph<T>::as_result(const Var<T>& factors) const {
  Shape shape;
  if (batch_ > 0) shape.push_back(batch_);
  for (int i = 1; i < factors.rank(); ++i) shape.push_back(factors.shape()[i]);
  return reshape(factors, shape);
}

template class ComposedGraph<float>;
template class ComposedGraph<double>;

}  // namespace tapestry::detail
