#include <tapestry/prob/graph_builders.hpp>

#include <algorithm>
#include <cmath>
#include <map>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

IndexTensor edge_array(std::int64_t edges) {
  return empty_tensor<std::int64_t>({edges, 2});
}

}  // namespace

IndexTensor chain_edges(const IndexTensor& ids) {
  const auto n = static_cast<std::int64_t>(ids.size());
  IndexTensor out = edge_array(std::max<std::int64_t>(n - 1, 0));
  for (std::int64_t i = 0; i + 1 < n; ++i) {
    out.data()[2 * i] = ids.data()[i];
    out.data()[2 * i + 1] = ids.data()[i + 1];
  }
  return out;
}

IndexTensor tree_edges(const IndexTensor& ids, const std::vector<std::int64_t>& parents) {
  const auto n = static_cast<std::int64_t>(ids.size());
  if (static_cast<std::int64_t>(parents.size()) != n)
    fail<ShapeError>("tree_edges", parents.size(), " parents for ", n, " variables");
  std::vector<std::int64_t> root(parents.size());
  for (std::int64_t i = 0; i < n; ++i) root[static_cast<std::size_t>(i)] = i;
  const auto find = [&](std::int64_t i) {
    while (root[static_cast<std::size_t>(i)] != i)
      i = root[static_cast<std::size_t>(i)] = root[static_cast<std::size_t>(root[static_cast<std::size_t>(i)])];
    return i;
  };
  std::vector<std::int64_t> edges;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t parent = parents[static_cast<std::size_t>(i)];
    if (parent < 0) continue;
    if (parent >= n) fail<IndexError>("tree_edges", "variable ", i, " has parent ", parent, " of ", n);
    const std::int64_t a = find(i), b = find(parent);
    if (a == b) fail<GraphError>("tree_edges", "variable ", i, " and its parent ", parent, " close a cycle");
    root[static_cast<std::size_t>(a)] = b;
    edges.push_back(ids.data()[parent]);
    edges.push_back(ids.data()[i]);
  }
  IndexTensor out = edge_array(static_cast<std::int64_t>(edges.size()) / 2);
  std::copy(edges.begin(), edges.end(), out.data());
  return out;
}

std::vector<IndexTensor> grid_edges(const IndexTensor& ids, bool diagonal) {
  const Shape shape = shape_of(ids);
  const int rank = shape.rank();
  // Each direction is a vector of -1, 0, 1 whose first other than 0 is 1: half of all neighbours.
  std::vector<std::vector<std::int64_t>> directions;
  for (int axis = 0; axis < rank; ++axis) {
    directions.emplace_back(static_cast<std::size_t>(rank), 0);
    directions.back()[static_cast<std::size_t>(axis)] = 1;
  }
  if (diagonal) {
    std::int64_t all = 1;
    for (int axis = 0; axis < rank; ++axis) all *= 3;
    for (std::int64_t code = 0; code < all; ++code) {
      std::vector<std::int64_t> step(static_cast<std::size_t>(rank));
      std::int64_t rest = code, moved = 0, first = 0;
      for (int axis = rank; axis-- > 0; rest /= 3) {
        step[static_cast<std::size_t>(axis)] = rest % 3 - 1;
        moved += step[static_cast<std::size_t>(axis)] != 0;
        if (step[static_cast<std::size_t>(axis)] != 0) first = step[static_cast<std::size_t>(axis)];
      }
      if (moved > 1 && first == 1) directions.push_back(step);
    }
  }
  std::vector<IndexTensor> out;
  for (const auto& step : directions) {
    std::int64_t edges = 1, offset = 0;
    Shape low, extent;  // cells from which the step stays inside
    for (int axis = 0; axis < rank; ++axis) {
      const std::int64_t s = step[static_cast<std::size_t>(axis)];
      extent.push_back(std::max<std::int64_t>(shape[axis] - (s != 0), 0));
      low.push_back(s < 0);
      edges *= extent[axis];
      offset = offset * shape[axis] + s;
    }
    IndexTensor array = edge_array(edges);
    std::int64_t* to = array.data();
    Shape cell = Shape::filled(rank, 0);
    for (std::int64_t e = 0; e < edges;) {
      std::int64_t base = 0;
      for (int axis = 0; axis < rank; ++axis) base = base * shape[axis] + low[axis] + cell[axis];
      const std::int64_t row = rank == 0 ? 1 : extent[rank - 1];
      for (std::int64_t k = 0; k < row; ++k, ++e) {
        *to++ = ids.data()[base + k];
        *to++ = ids.data()[base + k + offset];
      }
      for (int axis = rank - 1; axis-- > 0;) {
        if (++cell[axis] < extent[axis]) break;
        cell[axis] = 0;
      }
    }
    out.push_back(std::move(array));
  }
  return out;
}

IndexTensor complete_edges(const IndexTensor& ids) {
  const auto n = static_cast<std::int64_t>(ids.size());
  IndexTensor out = edge_array(n * (n - 1) / 2);
  std::int64_t* to = out.data();
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = i + 1; j < n; ++j) {
      *to++ = ids.data()[i];
      *to++ = ids.data()[j];
    }
  return out;
}

IndexTensor bipartite_edges(const IndexTensor& a, const IndexTensor& b) {
  IndexTensor out = edge_array(static_cast<std::int64_t>(a.size() * b.size()));
  std::int64_t* to = out.data();
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < b.size(); ++j) {
      *to++ = a.data()[i];
      *to++ = b.data()[j];
    }
  return out;
}

IndexTensor concatenate_edges(const std::vector<IndexTensor>& parts) {
  std::int64_t rows = 0;
  const std::int64_t columns =
      parts.empty() || parts.front().dimension() != 2 ? 2 : static_cast<std::int64_t>(parts.front().shape()[1]);
  for (const auto& part : parts) {
    if (part.dimension() != 2 || static_cast<std::int64_t>(part.shape()[1]) != columns)
      fail<ShapeError>("concatenate_edges", "an array of shape ", shape_of(part), " among those of ", columns,
                       " columns");
    rows += static_cast<std::int64_t>(part.shape()[0]);
  }
  IndexTensor out = empty_tensor<std::int64_t>({rows, columns});
  std::int64_t* to = out.data();
  for (const auto& part : parts) to = std::copy(part.data(), part.data() + part.size(), to);
  return out;
}

template <class T>
ModelGraph<T> factor_graph(const DiscreteModel& model, bool requires_grad) {
  validate(model, RowSums::at_most_one);
  ModelGraph<T> out;
  std::map<std::int64_t, std::vector<std::int64_t>> by_cardinality;
  for (std::int64_t v = 0; v < model.variables(); ++v)
    by_cardinality[model.cardinalities[static_cast<std::size_t>(v)]].push_back(v);
  out.variable.resize(model.cardinalities.size());
  for (const auto& [cardinality, members] : by_cardinality) {
    const std::int64_t first = out.graph.variables();
    out.graph.add_variables("states" + std::to_string(cardinality), {static_cast<std::int64_t>(members.size())},
                            cardinality);
    for (std::size_t i = 0; i < members.size(); ++i)
      out.variable[static_cast<std::size_t>(members[i])] = first + static_cast<std::int64_t>(i);
  }
  std::map<std::vector<std::int64_t>, std::vector<std::int64_t>> by_table;
  for (std::int64_t f = 0; f < model.factors(); ++f) {
    std::vector<std::int64_t> table;
    for (const std::int64_t v : model.scopes[static_cast<std::size_t>(f)])
      table.push_back(model.cardinalities[static_cast<std::size_t>(v)]);
    by_table[table].push_back(f);
  }
  out.factor.resize(model.scopes.size());
  for (const auto& [table, members] : by_table) {
    const auto count = static_cast<std::int64_t>(members.size()), arity = static_cast<std::int64_t>(table.size());
    IndexTensor scopes = empty_tensor<std::int64_t>({count, arity});
    Shape shape = {count};
    if (arity <= FactorStructure::most_axes)
      for (const std::int64_t k : table) shape.push_back(k);
    else
      shape.push_back(static_cast<std::int64_t>(model.tables[static_cast<std::size_t>(members[0])].size()));
    Tensor<T> potentials = empty_tensor<T>(shape);
    std::int64_t* id = scopes.data();
    T* entry = potentials.data();
    for (std::size_t i = 0; i < members.size(); ++i) {
      const auto f = static_cast<std::size_t>(members[i]);
      for (const std::int64_t v : model.scopes[f]) *id++ = out.variable[static_cast<std::size_t>(v)];
      for (const double x : model.tables[f]) *entry++ = static_cast<T>(std::log(x));
      out.factor[f] = {static_cast<std::int64_t>(out.graph.factor_groups().size()), static_cast<std::int64_t>(i)};
    }
    out.graph.add_factors("arity" + std::to_string(arity), scopes, Var<T>(std::move(potentials), requires_grad));
  }
  return out;
}

template ModelGraph<float> factor_graph(const DiscreteModel&, bool);
template ModelGraph<double> factor_graph(const DiscreteModel&, bool);

DiscreteModel bayesian_network(const std::vector<std::int64_t>& cardinalities,
                               const std::vector<std::vector<std::int64_t>>& parents,
                               const std::vector<std::vector<double>>& tables) {
  if (parents.size() != cardinalities.size())
    fail<ShapeError>("bayesian_network", cardinalities.size(), " variables, ", parents.size(), " lists of parents");
  DiscreteModel model;
  model.kind = ModelKind::bayes;
  model.cardinalities = cardinalities;
  model.scopes = parents;
  for (std::size_t v = 0; v < parents.size(); ++v) model.scopes[v].push_back(static_cast<std::int64_t>(v));
  model.tables = tables;
  validate(model);
  return model;
}

}  // namespace tapestry
