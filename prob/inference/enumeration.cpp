#include <tapestry/prob/inference/enumeration.hpp>

#include <algorithm>
#include <chrono>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/prob/entry_sums.hpp>
#include <tapestry/prob/inference/assignment_walk.hpp>
#include <tapestry/prob/inference/dense_tables.hpp>
#include <tapestry/prob/inference/message_operations.hpp>

namespace tapestry {
namespace {

constexpr const char* method_name = "enumeration";

/// All assignments that agree with the evidence, one after the other: [count, variables].
std::vector<std::int64_t> assignments_of(const detail::GraphStructure& graph, double limit, std::int64_t batches) {
  const auto cardinalities = detail::cardinalities_of(graph);
  const double count = detail::assignment_count(cardinalities, graph.evidence);
  auto each = static_cast<double>(cardinalities.size());
  for (const auto& group : graph.factors) each += static_cast<double>(group.factors());
  if (count * std::max(each, 1.0) * static_cast<double>(batches) > limit)
    fail<NumericalError>(method_name, count, " assignments of ", each, " variables and factors in ", batches,
                         " batch elements are more than the limit of ", limit);
  std::vector<std::int64_t> out;
  detail::for_each_assignment(cardinalities, graph.evidence, [&](const std::vector<std::int64_t>& assignment) {
    out.insert(out.end(), assignment.begin(), assignment.end());
  });
  return out;
}

/// index(b, states, k) of each of `width` elements, of each assignment, in each batch element.
template <class F>
Indices entries_of(const std::vector<std::int64_t>& assignments, std::int64_t variables, std::int64_t count,
                   std::int64_t batches, std::int64_t width, F index) {
  IndexTensor out = empty_tensor<std::int64_t>({batches * count, width});
  std::int64_t* to = out.data();
  for (std::int64_t b = 0; b < batches; ++b)
    for (std::int64_t a = 0; a < count; ++a)
      for (std::int64_t k = 0; k < width; ++k) *to++ = index(b, assignments.data() + a * variables, k);
  return Indices(std::move(out));
}

}  // namespace

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const Enumeration& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto& structure = *graph.structure();
  const std::int64_t n = structure.size(), batches = std::max<std::int64_t>(graph.batch(), 1);
  const auto assignments = assignments_of(structure, options.limit, batches);
  const std::int64_t count = n > 0 ? static_cast<std::int64_t>(assignments.size()) / n : 1;
  const auto entries = [&](std::int64_t width, const auto& index) {
    return entries_of(assignments, n, count, batches, width, index);
  };
  // The entry of a factor's table at an assignment, -1 where it is impossible.
  std::vector<std::int64_t> local;
  const auto entry = [&](const FactorStructure& group, const std::int64_t* states, std::int64_t f) {
    local.resize(static_cast<std::size_t>(group.arity()));
    for (std::size_t i = 0; i < local.size(); ++i)
      local[i] = states[group.scopes[f * group.arity() + static_cast<std::int64_t>(i)]];
    return group.entry(local.data());
  };
  Var<T> scores = Var<T>::zeros({batches * count});
  for (std::size_t g = 0; g < structure.factors.size(); ++g) {
    const auto& group = structure.factors[g];
    const Var<T>& x = graph.all_potentials()[g];
    const auto bad = std::find_if(x.data(), x.data() + x.size(),
                                  [](T value) { return !(value < std::numeric_limits<T>::infinity()); });
    if (bad != x.data() + x.size())
      fail<NumericalError>(method_name, "group '", group.name, "' has a potential of ", *bad);
    if (group.factors() == 0) continue;
    const auto layout = PotentialLayout::of(group, x.shape());
    scores =
        scores + detail::sum_entries(x, entries(group.factors(), [&](auto b, auto states, auto f) {
                                       const std::int64_t at = entry(group, states, f);
                                       return at < 0 ? at : b * layout.batch_stride + f * layout.factor_stride + at;
                                     }));
  }
  scores = reshape(scores, Shape{batches, count});
  const Var<T> p = reshape(softmax(scores), Shape{batches * count});
  const detail::BeliefLayout layout{structure, graph.batch(), options.factor_marginals};
  std::vector<Var<T>> outputs{reshape(logsumexp(scores, {1}), layout.shape(0))};
  for (int output = 1; output < layout.outputs(); ++output) {
    const std::int64_t elements = layout.elements(output);
    const auto marginal = [&](std::int64_t width, const auto& index) {
      outputs.push_back(elements * width == 0 ? Var<T>::zeros(layout.shape(output))
                                              : detail::spread_entries(p, entries(width, index), layout.shape(output)));
    };
    if (layout.variables(output)) {
      const auto& group = layout.variable_group(output);
      marginal(group.size(), [&](auto b, auto states, auto v) {
        return b * elements + v * group.cardinality + states[group.first + v];
      });
    } else {
      const auto& group = structure.factors[layout.factor_group(output)];
      marginal(group.factors(), [&](auto b, auto states, auto f) {
        const std::int64_t at = entry(group, states, f);
        return at < 0 ? at : b * elements + f * (elements / group.factors()) + at;
      });
    }
  }
  auto result = detail::result_of(graph, std::move(outputs));
  result.kind = BoundKind::exact;
  if (result.possible && !detail::capturing()) {
    std::vector<std::int64_t> best;
    for (std::int64_t b = 0; b < batches; ++b) {
      const T* own = scores.data() + b * count;
      const std::int64_t a = std::max_element(own, own + count) - own;
      best.insert(best.end(), assignments.begin() + a * n, assignments.begin() + (a + 1) * n);
    }
    detail::set_assignment(graph, result, best, n);
  }
  result.trace.updates = batches * count;
  result.trace.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

template InferenceResult<float> infer(const FactorGraph<float>&, const Enumeration&);
template InferenceResult<double> infer(const FactorGraph<double>&, const Enumeration&);

}  // namespace tapestry
