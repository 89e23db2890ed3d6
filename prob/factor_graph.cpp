#include <tapestry/prob/factor_graph.hpp>

#include <algorithm>
#include <limits>
#include <unordered_map>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/prob/entry_sums.hpp>

namespace tapestry {
namespace {

constexpr auto name_of_graph = "factor_graph";

Shape concatenate(const Shape& a, std::initializer_list<std::int64_t> b) {
  Shape out = a;
  for (const std::int64_t extent : b) out.push_back(extent);
  return out;
}

}  // namespace

template <class T>
detail::GraphStructure& FactorGraph<T>::change() {
  if (structure_.use_count() > 1) structure_ = std::make_shared<detail::GraphStructure>(*structure_);
  structure_->plans.clear();
  return const_cast<detail::GraphStructure&>(*structure_);
}

template <class T>
const std::shared_ptr<const detail::GraphStructure>& FactorGraph<T>::structure() const {
  return structure_;
}

template <class T>
std::int64_t FactorGraph<T>::add_variables(std::string name, const Shape& shape, std::int64_t cardinality) {
  if (cardinality < 1)
    fail<ShapeError>(name_of_graph, "variable group '", name, "' would have ", cardinality, " states");
  VariableGroup group{std::move(name), shape, cardinality, structure_->size(), structure_->states()};
  change().variables.push_back(std::move(group));
  return static_cast<std::int64_t>(structure_->variables.size()) - 1;
}

template <class T>
IndexTensor FactorGraph<T>::ids(std::int64_t group) const {
  if (group < 0 || group >= static_cast<std::int64_t>(structure_->variables.size()))
    fail<IndexError>(name_of_graph, "variable group ", group, " of ", structure_->variables.size());
  const auto& variables = structure_->variables[static_cast<std::size_t>(group)];
  IndexTensor out = empty_tensor<std::int64_t>(variables.shape);
  for (std::int64_t i = 0; i < variables.size(); ++i) out.data()[i] = variables.first + i;
  return out;
}

template <class T>
std::int64_t FactorGraph<T>::add(FactorStructure group, Var<T> potentials) {
  PotentialLayout::of(group, potentials.shape());
  change().factors.push_back(std::move(group));
  potentials_.push_back(std::move(potentials));
  return static_cast<std::int64_t>(potentials_.size()) - 1;
}

namespace {

/// Checks the scopes and finds the cardinalities of their places.
FactorStructure make_group(const detail::GraphStructure& graph, std::string name, FactorKind kind,
                           const IndexTensor& scopes) {
  if (scopes.dimension() != 2)
    fail<ShapeError>(name_of_graph, "scopes of factor group '", name, "' must be [factors, arity], not ",
                     shape_of(scopes));
  const auto factors = static_cast<std::int64_t>(scopes.shape()[0]),
             arity = static_cast<std::int64_t>(scopes.shape()[1]);
  if (kind != FactorKind::table && arity < 1)
    fail<ShapeError>(name_of_graph, "factor group '", name, "' joins no variables");
  const std::int64_t* ids = scopes.data();
  std::vector<std::int64_t> cardinalities(static_cast<std::size_t>(arity), kind == FactorKind::table ? 1 : 2);
  for (std::int64_t i = 0; i < arity; ++i) {
    const VariableGroup* group = nullptr;
    for (std::int64_t f = 0; f < factors; ++f) {
      const std::int64_t v = ids[f * arity + i];
      if (v < 0 || v >= graph.size())
        fail<IndexError>(name_of_graph, "factor ", f, " of group '", name, "' names variable ", v, " of ",
                         graph.size());
      if (group == nullptr || v < group->first || v >= group->first + group->size()) group = &graph.group_of(v);
      auto& cardinality = cardinalities[static_cast<std::size_t>(i)];
      if (f == 0 && kind == FactorKind::table) cardinality = group->cardinality;
      if (group->cardinality != cardinality)
        fail<ShapeError>(name_of_graph, "factor ", f, " of group '", name, "' names variable ", v, " of ",
                         group->cardinality, " states where ", cardinality, " are expected");
    }
  }
  for (std::int64_t f = 0; f < factors; ++f)
    for (std::int64_t i = 1; i < arity; ++i)
      for (std::int64_t j = 0; j < i; ++j)
        if (ids[f * arity + i] == ids[f * arity + j])
          fail<IndexError>(name_of_graph, "factor ", f, " of group '", name, "' names variable ", ids[f * arity + i],
                           " twice");
  return {std::move(name), kind, Indices(scopes), std::move(cardinalities)};
}

}  // namespace

template <class T>
std::int64_t FactorGraph<T>::add_factors(std::string name, const IndexTensor& scopes, Var<T> potentials) {
  return add(make_group(*structure_, std::move(name), FactorKind::table, scopes), std::move(potentials));
}

template <class T>
std::int64_t FactorGraph<T>::add_structured(std::string name, FactorKind kind, const IndexTensor& scopes,
                                            Var<T> potentials) {
  return add(make_group(*structure_, std::move(name), kind, scopes), std::move(potentials));
}

template <class T>
std::int64_t FactorGraph<T>::add_unary(std::string name, std::int64_t variables, Var<T> potentials) {
  IndexTensor scopes = ids(variables);
  const auto& group = structure_->variables[static_cast<std::size_t>(variables)];
  scopes.reshape({static_cast<std::size_t>(group.size()), std::size_t{1}});
  const Shape each = concatenate(group.shape, {group.cardinality});
  const Shape& given = potentials.shape();
  Shape target = given;
  if (given == each) target = {group.size(), group.cardinality};
  if (given.rank() == each.rank() + 1 && Shape(given.begin() + 1, given.end()) == each)
    target = {given[0], group.size(), group.cardinality};
  if (!(target == given)) potentials = reshape(potentials, target);
  return add_factors(std::move(name), scopes, std::move(potentials));
}

template <class T>
std::int64_t FactorGraph<T>::add_potts(std::string name, const IndexTensor& edges, const Var<T>& weight) {
  auto group = make_group(*structure_, std::move(name), FactorKind::table, edges);
  if (group.arity() != 2 || group.cardinalities[0] != group.cardinalities[1])
    fail<ShapeError>(name_of_graph, "Potts factors '", group.name, "' join two variables of the same cardinality");
  const std::int64_t k = group.cardinalities[0];
  Tensor<T> equal = empty_tensor<T>({k, k});
  for (std::int64_t i = 0; i < k * k; ++i) equal.data()[i] = i % (k + 1) == 0 ? T(1) : T(0);
  const Var<T> spread = reshape(weight, concatenate(weight.shape(), {1, 1}));
  return add(std::move(group), spread * Var<T>(std::move(equal)));
}

template <class T>
std::int64_t FactorGraph<T>::add_symmetric(std::string name, const IndexTensor& edges, const Var<T>& packed) {
  auto group = make_group(*structure_, std::move(name), FactorKind::table, edges);
  if (group.arity() != 2 || group.cardinalities[0] != group.cardinalities[1])
    fail<ShapeError>(name_of_graph, "symmetric factors '", group.name, "' join two variables of the same cardinality");
  const std::int64_t k = group.cardinalities[0], entries = k * (k + 1) / 2;
  if (packed.rank() < 1 || packed.shape().back() != entries)
    fail<ShapeError>(name_of_graph, "symmetric factors '", group.name, "' of ", k, " states need ", entries,
                     " entries, given ", packed.shape());
  const std::int64_t tables = packed.size() / entries;
  IndexTensor index = empty_tensor<std::int64_t>({tables * k * k});
  for (std::int64_t t = 0; t < tables; ++t)
    for (std::int64_t a = 0; a < k; ++a)
      for (std::int64_t b = 0; b < k; ++b) {
        const std::int64_t low = std::min(a, b), high = std::max(a, b);
        index.data()[(t * k + a) * k + b] = t * entries + low * k - low * (low - 1) / 2 + high - low;
      }
  Shape shape(packed.shape().begin(), packed.shape().end() - 1);
  shape.push_back(k);
  shape.push_back(k);
  return add(std::move(group), reshape(detail::take_entries(packed, Indices(std::move(index))), shape));
}

template <class T>
void FactorGraph<T>::set_potentials(std::int64_t group, Var<T> potentials) {
  if (group < 0 || group >= static_cast<std::int64_t>(potentials_.size()))
    fail<IndexError>(name_of_graph, "factor group ", group, " of ", potentials_.size());
  PotentialLayout::of(structure_->factors[static_cast<std::size_t>(group)], potentials.shape());
  potentials_[static_cast<std::size_t>(group)] = std::move(potentials);
}

template <class T>
void FactorGraph<T>::observe(std::int64_t variable, std::int64_t state) {
  observe(Evidence{{variable, state}});
}

template <class T>
void FactorGraph<T>::observe(const Evidence& evidence) {
  Evidence merged = structure_->evidence;
  std::unordered_map<std::int64_t, std::int64_t> known;
  for (const auto& [variable, state] : merged) known.emplace(variable, state);
  for (const auto& [variable, state] : evidence) {
    const std::int64_t states = cardinality(variable);
    if (state < 0 || state >= states)
      fail<IndexError>(name_of_graph, "variable ", variable, " has ", states, " states, none is ", state);
    const auto [old, added] = known.emplace(variable, state);
    if (old->second != state)
      fail<IndexError>(name_of_graph, "variable ", variable, " is observed in states ", old->second, " and ", state);
    if (added) merged.push_back({variable, state});
  }
  change().evidence = std::move(merged);
}

template <class T>
void FactorGraph<T>::clear_evidence() {
  change().evidence.clear();
}

template <class T>
std::int64_t FactorGraph<T>::batch() const {
  std::int64_t batch = 0;
  for (std::size_t g = 0; g < potentials_.size(); ++g) {
    const auto layout = PotentialLayout::of(structure_->factors[g], potentials_[g].shape());
    if (layout.batch == 0) continue;
    if (batch != 0 && layout.batch != batch)
      fail<ShapeError>(name_of_graph, "factor group '", structure_->factors[g].name, "' has a batch of ", layout.batch,
                       ", another one of ", batch);
    batch = layout.batch;
  }
  return batch;
}

template <class T>
Var<T> FactorGraph<T>::score(const IndexTensor& assignment) const {
  const std::int64_t n = variables(), batch_size = batch();
  const Shape given = shape_of(assignment);
  const bool batched = given.rank() == 2 || batch_size > 0;
  if ((given.rank() != 1 && given.rank() != 2) || given.back() != n ||
      (given.rank() == 2 && batch_size > 0 && given[0] != batch_size))
    fail<ShapeError>("score", "an assignment of shape ", given, " to ", n, " variables, batch ", batch_size);
  const std::int64_t rows = given.rank() == 2 ? given[0] : std::max<std::int64_t>(batch_size, 1);
  const std::int64_t row_stride = given.rank() == 2 ? n : 0;
  const std::int64_t* states = assignment.data();
  for (const auto& group : structure_->variables)
    for (std::int64_t r = 0; r < (given.rank() == 2 ? rows : 1); ++r)
      for (std::int64_t v = group.first; v < group.first + group.size(); ++v)
        if (states[r * row_stride + v] < 0 || states[r * row_stride + v] >= group.cardinality)
          fail<IndexError>("score", "variable ", v, " has ", group.cardinality, " states, none is ",
                           states[r * row_stride + v]);
  Tensor<T> start = empty_tensor<T>({rows});
  for (std::int64_t r = 0; r < rows; ++r) {
    start.data()[r] = 0;
    for (const auto& [variable, state] : structure_->evidence)
      if (states[r * row_stride + variable] != state) start.data()[r] = -std::numeric_limits<T>::infinity();
  }
  Var<T> total(std::move(start));
  std::vector<std::int64_t> local;
  for (std::size_t g = 0; g < potentials_.size(); ++g) {
    const auto& group = structure_->factors[g];
    const auto layout = PotentialLayout::of(group, potentials_[g].shape());
    const std::int64_t factors = group.factors(), arity = group.arity();
    IndexTensor entries = empty_tensor<std::int64_t>({rows, factors});
    local.resize(static_cast<std::size_t>(arity));
    const bool pairs = group.kind == FactorKind::table && arity == 2;
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t* row = states + r * row_stride;
      std::int64_t* out = entries.data() + r * factors;
      const std::int64_t* scope = group.scopes.data();
      for (std::int64_t f = 0; f < factors; ++f, scope += arity) {
        std::int64_t entry;
        if (pairs) {
          entry = row[scope[0]] * group.cardinalities[1] + row[scope[1]];
        } else {
          for (std::int64_t i = 0; i < arity; ++i) local[static_cast<std::size_t>(i)] = row[scope[i]];
          entry = group.entry(local.data());
        }
        out[f] = entry < 0 ? -1 : r * layout.batch_stride + f * layout.factor_stride + entry;
      }
    }
    total = total + detail::sum_entries(potentials_[g], Indices(std::move(entries)));
  }
  return batched ? total : reshape(total, Shape());
}

template class FactorGraph<float>;
template class FactorGraph<double>;

}  // namespace tapestry
