#include <algorithm>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/assignment.hpp>
#include <tapestry/prob/inference/assignment_search.hpp>
#include <tapestry/prob/inference/message_operations.hpp>

// How results are put together.
namespace tapestry {
namespace detail {

Shape BeliefLayout::shape(int output) const {
  Shape out;
  if (batch > 0) out.push_back(batch);
  if (output == 0) return out;
  if (variables(output)) {
    const auto& group = variable_group(output);
    for (const std::int64_t extent : group.shape) out.push_back(extent);
    out.push_back(group.cardinality);
    return out;
  }
  const auto& group = graph.factors[factor_group(output)];
  out.push_back(group.factors());
  for (const std::int64_t extent : group.table()) out.push_back(extent);
  return out;
}

template <class T>
bool differentiable(const FactorGraph<T>& graph) {
  const auto& potentials = graph.all_potentials();
  return gradients_enabled() &&
         std::any_of(potentials.begin(), potentials.end(), [](const auto& p) { return p.requires_grad(); });
}

template <class T>
InferenceResult<T> result_of(const FactorGraph<T>& graph, std::vector<Var<T>> outputs) {
  InferenceResult<T> result;
  const auto groups = static_cast<std::ptrdiff_t>(graph.variable_groups().size());
  result.log_partition = outputs[0];
  result.variables.assign(outputs.begin() + 1, outputs.begin() + 1 + groups);
  result.factors.assign(outputs.begin() + 1 + groups, outputs.end());
  // In a program only the variables are of use.
  if (capturing()) return result;
  for (std::int64_t b = 0; b < result.log_partition.size(); ++b)
    result.possible = result.possible && result.log_partition.data()[b] != -std::numeric_limits<T>::infinity();
  return result;
}

namespace {

/// The search in a batch element's potentials.
template <class T>
AssignmentSearch<T> search_of(const FactorGraph<T>& graph, std::int64_t b) {
  const auto& structure = *graph.structure();
  std::vector<const T*> potentials;
  std::vector<PotentialLayout> layouts;
  for (std::size_t g = 0; g < structure.factors.size(); ++g) {
    const Var<T>& x = graph.all_potentials()[g];
    layouts.push_back(PotentialLayout::of(structure.factors[g], x.shape()));
    potentials.push_back(x.data() + (layouts[g].batch > 0 ? b * layouts[g].batch_stride : 0));
  }
  return AssignmentSearch<T>(structure, std::move(potentials), layouts);
}

/// Puts possible states where the most probable ones of each variable go together with no factor's entries.
/// @return the batch elements that have none
template <class T>
std::vector<bool> mend_assignment(const FactorGraph<T>& graph, const InferenceResult<T>& result, IndexTensor& best) {
  const auto& structure = *graph.structure();
  std::vector<bool> impossible(static_cast<std::size_t>(result.assignment_score.size()));
  std::vector<double> beliefs(static_cast<std::size_t>(structure.states()));
  std::vector<std::int64_t> found;
  for (std::int64_t b = 0; b < result.assignment_score.size(); ++b) {
    if (result.assignment_score.data()[b] != -std::numeric_limits<T>::infinity()) continue;
    for (std::size_t v = 0; v < structure.variables.size(); ++v) {
      const auto& group = structure.variables[v];
      const std::int64_t n = group.size() * group.cardinality;
      std::copy_n(result.variables[v].data() + b * n, n, beliefs.begin() + group.first_state);
    }
    const auto outcome = search_of(graph, b).find(beliefs, found);
    if (outcome == AssignmentSearch<T>::Outcome::found)
      std::copy(found.begin(), found.end(), best.data() + b * structure.size());
    impossible[static_cast<std::size_t>(b)] = outcome == AssignmentSearch<T>::Outcome::none;
  }
  return impossible;
}

}  // namespace

template <class T>
void rule_out(InferenceResult<T>& result, const std::vector<bool>& impossible) {
  if (std::find(impossible.begin(), impossible.end(), true) == impossible.end()) return;
  result.possible = false;
  const auto replace = [&](Var<T>& x, T value) {
    Shape shape = Shape::filled(x.rank());
    if (!shape.empty()) shape[0] = static_cast<std::int64_t>(impossible.size());
    IndexTensor out = empty_tensor<std::int64_t>(shape);
    std::copy(impossible.begin(), impossible.end(), out.data());
    x = where(Indices(std::move(out)), Var<T>(value), x);
  };
  replace(result.log_partition, -std::numeric_limits<T>::infinity());
  for (auto* groups : {&result.variables, &result.factors})
    for (auto& x : *groups) replace(x, T(0));
}

template <class T>
void set_assignment(const FactorGraph<T>& graph, InferenceResult<T>& result, const std::vector<std::int64_t>& states,
                    std::int64_t variables) {
  IndexTensor best = graph.batch() > 0 ? empty_tensor<std::int64_t>({graph.batch(), variables})
                                       : empty_tensor<std::int64_t>({variables});
  std::copy(states.begin(), states.end(), best.data());
  result.assignment_score = graph.score(best);
  constexpr T impossible = -std::numeric_limits<T>::infinity();
  if (std::find(result.assignment_score.data(), result.assignment_score.data() + result.assignment_score.size(),
                impossible) != result.assignment_score.data() + result.assignment_score.size()) {
    rule_out(result, mend_assignment(graph, result, best));
    result.assignment_score = graph.score(best);
  }
  result.assignment = std::move(best);
}

void judge(InferenceTrace& trace, bool converged) {
  const auto& residual = trace.residual;
  if (!converged && residual.size() >= 20)
    trace.oscillates = *std::min_element(residual.end() - 10, residual.end()) >
                       0.9 * *std::min_element(residual.end() - 20, residual.end() - 10);
}

}  // namespace detail

template <class T>
void refine_assignment(const FactorGraph<T>& graph, InferenceResult<T>& result) {
  if (!result.assignment) fail<GraphError>("refine_assignment", "the result has no assignment");
  const std::int64_t n = graph.variables();
  IndexTensor& best = *result.assignment;
  for (std::int64_t b = 0; b < result.assignment_score.size(); ++b) {
    std::vector<std::int64_t> states(best.data() + b * n, best.data() + (b + 1) * n);
    detail::search_of(graph, b).climb(states);
    std::copy(states.begin(), states.end(), best.data() + b * n);
  }
  result.assignment_score = graph.score(best);
}

template void refine_assignment(const FactorGraph<float>&, InferenceResult<float>&);
template void refine_assignment(const FactorGraph<double>&, InferenceResult<double>&);

namespace detail {

#define TAPESTRY_INSTANTIATE(T)                                                                              \
  template bool differentiable(const FactorGraph<T>&);                                                       \
  template InferenceResult<T> result_of(const FactorGraph<T>&, std::vector<Var<T>>);                         \
  template void set_assignment(const FactorGraph<T>&, InferenceResult<T>&, const std::vector<std::int64_t>&, \
                               std::int64_t);                                                                \
  template void rule_out(InferenceResult<T>&, const std::vector<bool>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace detail
}  // namespace tapestry
