#include <tapestry/prob/inference/free_energy.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/prob/inference/exact_plan.hpp>
#include <tapestry/prob/inference/message_operations.hpp>

namespace tapestry {
namespace {

constexpr auto name = "bethe_parts";

/// -sum p log p over the axes from `first` on.
template <class T>
Var<T> entropy_of(const Var<T>& p, int first) {
  const Var<T> zero = Var<T>::zeros({}), one = Var<T>::ones({});
  Axes axes;
  for (int axis = first; axis < p.rank(); ++axis) axes.push_back(axis);
  const Var<T> terms = -(p * log(where(greater(p, zero), p, one)));
  return axes.empty() ? terms : sum(terms, axes);
}

/// Sums of all but the batch axis, each element times its number.
template <class T>
Var<T> total(const Var<T>& x, const std::vector<double>& numbers, bool batched) {
  Shape shape;
  for (int axis = 0; axis < x.rank(); ++axis) shape.push_back(batched && axis == 0 ? 1 : x.extent(axis));
  Tensor<T> counts = empty_tensor<T>(shape);
  std::copy(numbers.begin(), numbers.end(), counts.data());
  Axes axes;
  for (int axis = batched ? 1 : 0; axis < x.rank(); ++axis) axes.push_back(axis);
  const Var<T> product = x * Var<T>(std::move(counts));
  return axes.empty() ? product : sum(product, axes);
}

}  // namespace

template <class T>
BetheParts<T> bethe_parts(const FactorGraph<T>& graph, const InferenceResult<T>& result,
                          const std::vector<double>& weights) {
  const auto& structure = *graph.structure();
  if (result.factors.size() != structure.factors.size())
    fail<GraphError>(name, "the result has no marginals of factors");
  for (const auto& group : structure.factors)
    if (group.kind != FactorKind::table)
      fail<GraphError>(name, "factor group '", group.name, "' is not of tables: its entropy is not known");
  auto numbers = detail::spread_weights(structure, weights);
  const std::int64_t batch = graph.batch();
  const int first = batch > 0 ? 1 : 0;
  BetheParts<T> out;
  out.score = out.entropy = Var<T>::zeros(batch > 0 ? Shape{batch} : Shape{});
  std::vector<double> counts(static_cast<std::size_t>(structure.size()), 1.0);
  auto from = numbers.begin();
  for (std::size_t g = 0; g < structure.factors.size(); ++g) {
    const auto& group = structure.factors[g];
    std::vector<double> own(static_cast<std::size_t>(group.factors()), 1.0);
    if (!numbers.empty()) {
      std::copy_n(from, group.factors(), own.begin());
      from += group.factors();
    }
    for (std::int64_t i = 0; i < group.scopes.size(); ++i)
      counts[static_cast<std::size_t>(group.scopes[i])] -= own[static_cast<std::size_t>(i / group.arity())];
    const Var<T>& p = result.factors[g];
    const Var<T> potentials = detail::expand_potentials(group, graph.all_potentials()[g], batch);
    const Var<T> zero = Var<T>::zeros({});
    const Var<T> expected = p * where(greater(p, zero), potentials, zero);
    out.score =
        out.score +
        total(expected,
              std::vector<double>(static_cast<std::size_t>(expected.size() / std::max<std::int64_t>(batch, 1)), 1.0),
              batch > 0);
    out.factor_entropies.push_back(entropy_of(p, first + 1));
    out.entropy = out.entropy + total(out.factor_entropies.back(), own, batch > 0);
  }
  for (std::size_t v = 0; v < structure.variables.size(); ++v) {
    const auto& group = structure.variables[v];
    const Var<T>& p = result.variables[v];
    Var<T> entropy = entropy_of(p, p.rank() - 1);
    const auto begin = counts.begin() + group.first;
    out.entropy = out.entropy + total(entropy, std::vector<double>(begin, begin + group.size()), batch > 0);
    out.variable_entropies.push_back(std::move(entropy));
  }
  out.log_partition = out.score + out.entropy;
  return out;
}

template BetheParts<float> bethe_parts(const FactorGraph<float>&, const InferenceResult<float>&,
                                       const std::vector<double>&);
template BetheParts<double> bethe_parts(const FactorGraph<double>&, const InferenceResult<double>&,
                                        const std::vector<double>&);

}  // namespace tapestry
