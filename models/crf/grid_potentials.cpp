#include <tapestry/models/crf/grid_potentials.hpp>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/pairwise.hpp>

namespace tapestry {
namespace {

struct Extents {
  std::int64_t batch, height, width, states;
};

/// The two directions of edges: the axis of the grid along which the second end comes after the first.
enum Direction : int { right = 2, down = 1 };

template <class T>
const Var<T>& table(const GridPotentials<T>& p, Direction direction) {
  return direction == right ? p.horizontal : p.vertical;
}

template <class T>
Extents check(const char* operation, const GridPotentials<T>& p) {
  if (p.unary.rank() != 4)
    fail<ShapeError>(operation, "unary potentials ", p.unary.shape(), " must be [batch, height, width, states]");
  const Extents e{p.unary.extent(0), p.unary.extent(1), p.unary.extent(2), p.unary.extent(3)};
  if (e.height < 1 || e.width < 1 || e.states < 1) fail<ShapeError>(operation, "empty grids ", p.unary.shape());
  const Shape shared{e.states, e.states};
  const auto wrong = [&](const char* name, const Var<T>& x, const Shape& by_edge) {
    if (x.shape() != shared && x.shape() != by_edge)
      fail<ShapeError>(operation, name, " potentials ", x.shape(), " must be ", shared, " or ", by_edge);
  };
  wrong("horizontal", p.horizontal, {e.batch, e.height, e.width - 1, e.states, e.states});
  wrong("vertical", p.vertical, {e.batch, e.height - 1, e.width, e.states, e.states});
  return e;
}

void check_labels(const char* operation, const Extents& e, const Indices& labels) {
  if (labels.shape() != Shape{e.batch, e.height, e.width})
    fail<ShapeError>(operation, "labels ", labels.shape(), " must be [", e.batch, ", ", e.height, ", ", e.width, "]");
  detail::check_indices(operation, labels, {e.batch, e.height, e.width, e.states}, 3);
}

template <class T>
bool shared(const GridPotentials<T>& p) {
  return p.horizontal.rank() == 2 && p.vertical.rank() == 2;
}

/// Without the last (the first ends of edges) or the first (the second ends) row or column of a [batch, height, width,
/// ...] array.
template <class T>
Var<T> ends(const Var<T>& x, Direction direction, bool second) {
  const std::int64_t n = x.extent(direction);
  return second ? slice(x, direction, {1, n}) : slice(x, direction, {0, n - 1});
}

/// The other way round: edges' values put where their first or second ends are, zeros elsewhere.
template <class T>
Var<T> at_ends(const Var<T>& x, Direction direction, bool second) {
  std::vector<std::pair<std::int64_t, std::int64_t>> widths(static_cast<std::size_t>(x.rank()), {0, 0});
  widths[static_cast<std::size_t>(direction)] = second ? std::pair{1, 0} : std::pair{0, 1};
  return pad(x, widths);
}

/// What the edges of one direction tell their ends: the first ones sum over b of table(a, b) q_second(b), the second
/// ones sum over a of table(a, b) q_first(a).
template <class T>
Var<T> neighbour_sums(const GridPotentials<T>& p, const Var<T>& q, Direction direction) {
  if (q.extent(direction) < 2) return Var<T>::zeros(q.shape());
  const Var<T>& pairs = table(p, direction);
  const Var<T> first = ends(q, direction, false), second = ends(q, direction, true);
  Var<T> to_first, to_second;
  if (pairs.rank() == 2) {
    to_first = matmul(second, pairs, {.transpose_b = true});
    to_second = matmul(first, pairs);
  } else {
    to_first = sum(pairs * expand_dims(second, 3), {4});
    to_second = sum(pairs * expand_dims(first, 4), {3});
  }
  return at_ends(to_first, direction, false) + at_ends(to_second, direction, true);
}

template <class T>
Var<T> composed_mean_field(const GridPotentials<T>& p, const GridInference& inference) {
  Var<T> log_q = log_softmax(p.unary);
  const T keep = static_cast<T>(inference.damping);
  for (int i = 0; i < inference.iterations; ++i) {
    const Var<T> q = exp(log_q);
    const Var<T> next = log_softmax(p.unary + neighbour_sums(p, q, right) + neighbour_sums(p, q, down));
    log_q = keep == 0 ? next : log((T(1) - keep) * exp(next) + keep * q);
  }
  return log_q;
}

/// The numbers of both ends of all edges of a direction, row by row.
std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> edges_of(const Extents& e, Direction direction) {
  std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> out;
  const std::int64_t height = e.height - (direction == down), width = e.width - (direction == right);
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      out.first.push_back(y * e.width + x);
      out.second.push_back(y * e.width + x + (direction == right ? 1 : e.width));
    }
  return out;
}

/// The tables of a direction as [batch, edges, states, states].
template <class T>
Var<T> by_edge(const GridPotentials<T>& p, const Extents& e, Direction direction) {
  const Var<T>& pairs = table(p, direction);
  const std::int64_t edges = (e.height - (direction == down)) * (e.width - (direction == right));
  if (pairs.rank() != 2) return reshape(pairs, {e.batch, edges, e.states, e.states});
  return broadcast_to(pairs, Shape{e.batch, edges, e.states, e.states});
}

template <class T>
Var<T> general_belief_propagation(const GridPotentials<T>& p, const Extents& e, const UnrolledOptions& options) {
  auto [first, second] = edges_of(e, right);
  const auto [above, below] = edges_of(e, down);
  first.insert(first.end(), above.begin(), above.end());
  second.insert(second.end(), below.begin(), below.end());
  const auto indices = [](const std::vector<std::int64_t>& from) {
    IndexTensor out = empty_tensor<std::int64_t>({static_cast<std::int64_t>(from.size())});
    std::copy(from.begin(), from.end(), out.begin());
    return Indices(std::move(out));
  };
  const PairwiseFactors factors(e.height * e.width, indices(first), indices(second));
  const Var<T> potentials = concatenate({by_edge(p, e, right), by_edge(p, e, down)}, 1);
  return reshape(pairwise_belief_propagation(factors, reshape(p.unary, {e.batch, e.height * e.width, e.states}),
                                             potentials, options),
                 p.unary.shape());
}

/// The labels of the edges' first or second ends.
IndexTensor label_ends(const Indices& labels, const Extents& e, Direction direction, bool second) {
  const std::int64_t height = e.height - (direction == down), width = e.width - (direction == right);
  IndexTensor out = empty_tensor<std::int64_t>({e.batch, height, width});
  std::int64_t* to = out.data();
  const std::int64_t offset = !second ? 0 : direction == right ? 1 : e.width;
  for (std::int64_t b = 0; b < e.batch; ++b)
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x) *to++ = labels[(b * e.height + y) * e.width + x + offset];
  return out;
}

/// The same index array with one more axis at its end, for take_along_axis().
Indices with_axes(IndexTensor x, int axes) {
  Shape shape = shape_of(x);
  for (int i = 0; i < axes; ++i) shape.push_back(1);
  x.reshape(xt::svector<std::size_t, 4>(shape.begin(), shape.end()));
  return Indices(std::move(x));
}

template <class T>
Var<T> pair_score(const GridPotentials<T>& p, const Extents& e, const Indices& labels, Direction direction) {
  const Var<T>& pairs = table(p, direction);
  IndexTensor cells = label_ends(labels, e, direction, false);
  const IndexTensor second = label_ends(labels, e, direction, true);
  for (std::size_t i = 0; i < cells.size(); ++i) cells.data()[i] = cells.data()[i] * e.states + second.data()[i];
  if (cells.size() == 0) return Var<T>::zeros({e.batch});
  if (pairs.rank() == 2) return sum(take(reshape(pairs, {e.states * e.states}), Indices(std::move(cells))), {1, 2});
  const Var<T> flat = reshape(pairs, {e.batch, pairs.extent(1), pairs.extent(2), e.states * e.states});
  return sum(take_along_axis(flat, with_axes(std::move(cells), 1), 3), {1, 2, 3});
}

/// For each state of a pixel, the potentials that join it with the labels of its neighbours in one direction.
template <class T>
Var<T> given_neighbours(const GridPotentials<T>& p, const Extents& e, const Indices& labels, Direction direction) {
  if (p.unary.extent(direction) < 2) return Var<T>::zeros(p.unary.shape());
  const Var<T>& pairs = table(p, direction);
  IndexTensor first = label_ends(labels, e, direction, false), second = label_ends(labels, e, direction, true);
  Var<T> to_first, to_second;
  if (pairs.rank() == 2) {
    to_first = take(transpose(pairs), Indices(std::move(second)), 0);
    to_second = take(pairs, Indices(std::move(first)), 0);
  } else {
    to_first = squeeze(take_along_axis(pairs, with_axes(std::move(second), 2), 4), {4});
    to_second = squeeze(take_along_axis(pairs, with_axes(std::move(first), 2), 3), {3});
  }
  return at_ends(to_first, direction, false) + at_ends(to_second, direction, true);
}

/// No part of a grid has more edges to its pixels than the whole has: all edges alike is a distribution over trees.
template <class T>
Var<T> tree_reweighted(const GridPotentials<T>& p, const Extents& e, const GridInference& inference) {
  const auto pixels = static_cast<double>(e.height * e.width);
  const auto edges = static_cast<double>(e.height * (e.width - 1) + (e.height - 1) * e.width);
  const FactorGraph<T> graph = grid_graph(p);
  std::vector<double> weights(graph.factor_groups().size(), (pixels - 1) / std::max(edges, 1.0));
  weights[0] = 1;  // of the unary factors
  return log(infer(graph, TreeReweighted{.iterations = inference.iterations,
                                         .tolerance = 0,
                                         .damping = inference.damping,
                                         .weights = std::move(weights)})
                 .variables[0]);
}

}  // namespace

template <class T>
Var<T> grid_log_marginals(const GridPotentials<T>& p, const GridInference& inference) {
  const Extents e = check("grid_log_marginals", p);
  if (inference.iterations < 0 || !(inference.damping >= 0 && inference.damping < 1))
    fail("grid_log_marginals", inference.iterations, " iterations with a damping of ", inference.damping);
  const UnrolledOptions options{inference.iterations, inference.damping};
  if (inference.method == GridMethod::belief_propagation)
    return shared(p) ? grid_belief_propagation(p.unary, p.horizontal, p.vertical, options)
                     : general_belief_propagation(p, e, options);
  if (inference.method == GridMethod::tree_reweighted) return tree_reweighted(p, e, inference);
  if (!shared(p)) return composed_mean_field(p, inference);
  // Own state in rows: of the neighbours to the left, right, above, below.
  return grid_mean_field(p.unary, stack({transpose(p.horizontal), p.horizontal, transpose(p.vertical), p.vertical}),
                         options);
}

template <class T>
Var<T> grid_score(const GridPotentials<T>& p, const Indices& labels) {
  const Extents e = check("grid_score", p);
  check_labels("grid_score", e, labels);
  return sum(take_along_axis(p.unary, with_axes(labels.tensor(), 1), 3), {1, 2, 3}) + pair_score(p, e, labels, right) +
         pair_score(p, e, labels, down);
}

template <class T>
Var<T> grid_mean_field_bound(const GridPotentials<T>& p, const Var<T>& log_q) {
  check("grid_mean_field_bound", p);
  if (log_q.shape() != p.unary.shape())
    fail<ShapeError>("grid_mean_field_bound", "marginals ", log_q.shape(), " for unary potentials ", p.unary.shape());
  const Var<T> q = exp(log_q);
  // Each edge is met at both of its ends.
  const Var<T> pairs = (neighbour_sums(p, q, right) + neighbour_sums(p, q, down)) * T(0.5);
  // -KL(q || exp(unary)): 0 log 0 is 0.
  return sum(q * pairs, {1, 2, 3}) - sum(kl_divergence(log_q, p.unary, Reduction::none), {1, 2});
}

template <class T>
FactorGraph<T> grid_graph(const GridPotentials<T>& p) {
  const Extents e = check("grid_graph", p);
  FactorGraph<T> graph;
  const std::int64_t pixels = graph.add_variables("pixels", {e.height, e.width}, e.states);
  graph.add_unary("unary", pixels, p.unary);
  for (const Direction direction : {right, down}) {
    const auto [first, second] = edges_of(e, direction);
    if (first.empty()) continue;
    IndexTensor edges = empty_tensor<std::int64_t>({static_cast<std::int64_t>(first.size()), 2});
    for (std::size_t i = 0; i < first.size(); ++i) {
      edges(i, 0) = first[i];
      edges(i, 1) = second[i];
    }
    const Var<T>& pairs = table(p, direction);
    graph.add_factors(direction == right ? "horizontal" : "vertical", edges,
                      pairs.rank() == 2 ? pairs : by_edge(p, e, direction));
  }
  return graph;
}

template <class T>
GridExact<T> grid_exact(const GridPotentials<T>& p, double memory_limit) {
  const InferenceResult<T> result = infer(grid_graph(p), JunctionTree{.memory_limit = memory_limit});
  return {result.log_partition, result.possible ? result.variables[0] : Var<T>()};
}

template <class T>
Var<T> grid_pseudo_log_likelihood(const GridPotentials<T>& p, const Indices& labels) {
  const Extents e = check("grid_pseudo_log_likelihood", p);
  check_labels("grid_pseudo_log_likelihood", e, labels);
  const Var<T> conditional =
      log_softmax(p.unary + given_neighbours(p, e, labels, right) + given_neighbours(p, e, labels, down));
  return -sum(negative_log_likelihood(conditional, labels, Reduction::none), {1, 2});
}

template <class T>
Var<T> grid_loss(const GridPotentials<T>& p, const Indices& labels, GridLoss loss, const GridInference& inference) {
  const Extents e = check("grid_loss", p);
  check_labels("grid_loss", e, labels);
  const T pixels = static_cast<T>(e.height * e.width);
  switch (loss) {
    case GridLoss::likelihood:
      return mean(grid_exact(p).log_partition - grid_score(p, labels)) / pixels;
    case GridLoss::pseudo_likelihood:
      return -mean(grid_pseudo_log_likelihood(p, labels)) / pixels;
    case GridLoss::univariate_log:
      return negative_log_likelihood(grid_log_marginals(p, inference), labels);
    case GridLoss::univariate_quadratic:
      return mean(sum(square(exp(grid_log_marginals(p, inference)) - one_hot<T>(labels, e.states)), {3}));
  }
  fail("grid_loss", "no such loss");
}

#define TAPESTRY_INSTANTIATE(T)                                                         \
  template Var<T> grid_log_marginals(const GridPotentials<T>&, const GridInference&);   \
  template Var<T> grid_score(const GridPotentials<T>&, const Indices&);                 \
  template Var<T> grid_mean_field_bound(const GridPotentials<T>&, const Var<T>&);       \
  template FactorGraph<T> grid_graph(const GridPotentials<T>&);                         \
  template GridExact<T> grid_exact(const GridPotentials<T>&, double);                   \
  template Var<T> grid_pseudo_log_likelihood(const GridPotentials<T>&, const Indices&); \
  template Var<T> grid_loss(const GridPotentials<T>&, const Indices&, GridLoss, const GridInference&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
