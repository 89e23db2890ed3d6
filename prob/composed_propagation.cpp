#include <tapestry/prob/composed_propagation.hpp>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/prob/inference/composed_beliefs.hpp>

namespace tapestry::detail {

template <class T>
Var<T> composed_propagation(const Var<T>& unary, const Var<T>& tables, const std::int64_t* first,
                            const std::int64_t* second, const UnrolledOptions& options) {
  const Shape& shape = unary.shape();
  const std::int64_t n = shape[shape.rank() - 2], K = shape.back(), factors = tables.shape()[tables.rank() - 3];
  FactorGraph<T> graph;
  const auto variables = graph.add_variables("variables", {n}, K);
  graph.add_unary("unary", variables, unary);
  if (factors > 0) {
    IndexTensor scopes = empty_tensor<std::int64_t>({factors, 2});
    for (std::int64_t f = 0; f < factors; ++f) {
      scopes.data()[2 * f] = first[f];
      scopes.data()[2 * f + 1] = second[f];
    }
    graph.add_factors("pairs", scopes, tables);
  }
  const ComposedGraph<T> parts(graph.structure(), graph.batch());
  const ComposedBeliefs<T> beliefs(parts, parts.arrange(graph.all_potentials()));
  const std::vector<std::int64_t> steps(static_cast<std::size_t>(parts.rows()), options.iterations);
  const Var<T> found = beliefs.log_beliefs(beliefs.run(beliefs.start(), steps, options.iterations, options.damping));
  return log_softmax(reshape(found, shape));
}

template <class T>
Var<T> composed_grid_mean_field(const Var<T>& unary, const Var<T>& compatibility, const UnrolledOptions& options) {
  const Shape& c = compatibility.shape();
  // For neighbours to the left, right, above, below.
  const auto of = [&](int direction) {
    const std::int64_t which = c.rank() < 3 || c[0] == 1 ? 0 : c[0] == 2 ? direction / 2 : direction;
    return transpose(c.rank() < 3 ? compatibility : select(compatibility, 0, which));
  };
  const Var<T> by[] = {of(0), of(1), of(2), of(3)};
  const auto from_neighbours = [&](const Var<T>& q, int axis, bool ahead) {
    const std::int64_t n = q.extent(axis);
    std::vector<std::pair<std::int64_t, std::int64_t>> widths(4, {0, 0});
    (ahead ? widths[static_cast<std::size_t>(axis)].second : widths[static_cast<std::size_t>(axis)].first) = 1;
    return pad(slice(q, axis, ahead ? Slice{1, n} : Slice{0, n - 1}), widths);
  };
  Var<T> log_q = log_softmax(unary);
  for (int i = 0; i < options.iterations; ++i) {
    const Var<T> q = exp(log_q);
    Var<T> logits = unary;
    for (int direction = 0; direction < 4; ++direction) {
      const int axis = direction < 2 ? 2 : 1;
      if (q.extent(axis) < 2) continue;
      logits = logits + matmul(from_neighbours(q, axis, direction % 2 == 1), by[direction]);
    }
    const Var<T> fresh = log_softmax(logits);
    log_q = options.damping > 0
                ? log(exp(fresh) * static_cast<T>(1 - options.damping) + q * static_cast<T>(options.damping))
                : fresh;
  }
  return log_q;
}

#define TAPESTRY_INSTANTIATE(T)                                                                                \
  template Var<T> composed_propagation(const Var<T>&, const Var<T>&, const std::int64_t*, const std::int64_t*, \
                                       const UnrolledOptions&);                                                \
  template Var<T> composed_grid_mean_field(const Var<T>&, const Var<T>&, const UnrolledOptions&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
