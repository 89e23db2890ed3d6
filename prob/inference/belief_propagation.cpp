#include <tapestry/prob/inference/belief_propagation.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>

#include <tapestry/autodiff/checkpoint.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/assignment.hpp>
#include <tapestry/prob/inference/bound_checks.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/inference/pairwise_passing.hpp>
#include <tapestry/prob/inference/spanning_forests.hpp>

namespace tapestry {
namespace detail {

constexpr auto method_name = "belief_propagation";

std::vector<double> spread_weights(const GraphStructure& graph, const std::vector<double>& given) {
  std::int64_t factors = 0;
  for (const auto& group : graph.factors) factors += group.factors();
  if (given.empty() || static_cast<std::int64_t>(given.size()) == factors) return given;
  if (given.size() != graph.factors.size())
    fail<ShapeError>(method_name, given.size(), " weights for ", graph.factors.size(), " groups of ", factors,
                     " factors");
  std::vector<double> out;
  for (std::size_t g = 0; g < given.size(); ++g)
    out.insert(out.end(), static_cast<std::size_t>(graph.factors[g].factors()), given[g]);
  return out;
}

namespace {

/// Unrolled flooding: messages as operations on the tape.
template <class T>
Var<T> unroll(const std::shared_ptr<Passing>& passing, const std::vector<Var<T>>& potentials) {
  const auto& options = passing->options;
  const bool truncated = options.gradient == GradientMode::truncated;
  const auto step = [&](std::vector<Var<T>>& inputs) {
    inputs[0] = apply<T>(message_step<T>(passing), inputs);
    passing->trace.residual.push_back(passing->last_residual);
    ++passing->trace.iterations;
    passing->trace.updates += passing->batches() * passing->engine.factors();
    // A program makes all iterations.
    passing->converged = !capturing() && passing->last_residual <= options.tolerance;
  };
  std::vector<Var<T>> inputs;
  {
    const EnableGradients enable(!truncated || options.iterations <= options.truncation);
    inputs.push_back(apply<T>(start_messages<T>(passing), potentials));
  }
  inputs.insert(inputs.end(), potentials.begin(), potentials.end());
  if (options.gradient == GradientMode::checkpointed) {
    const auto length = static_cast<std::int64_t>(
        std::ceil(std::sqrt(static_cast<double>(std::max<std::int64_t>(options.iterations, 1)))));
    for (std::int64_t begin = 0; begin < options.iterations && !passing->converged; begin += length) {
      // How many iterations of the segment were made is found out the first time.
      const auto made = std::make_shared<std::int64_t>(-1);
      const std::int64_t most = std::min(length, options.iterations - begin);
      const MultiFunction<T> segment = [passing, made, most, step](const std::vector<Var<T>>& given) {
        std::vector<Var<T>> at = given;
        if (*made >= 0) {
          for (std::int64_t i = 0; i < *made; ++i) at[0] = apply<T>(message_step<T>(passing), at);
          return std::vector<Var<T>>{at[0]};
        }
        *made = 0;
        for (; *made < most && !passing->converged; ++*made) step(at);
        return std::vector<Var<T>>{at[0]};
      };
      inputs[0] = checkpoint(segment, inputs)[0];
    }
    return inputs[0];
  }
  for (std::int64_t i = 0; i < options.iterations && !passing->converged; ++i) {
    // The last iterations possible are recorded; where messages converge before, some more are, below.
    const EnableGradients enable(!truncated || i + options.truncation >= options.iterations);
    step(inputs);
  }
  if (truncated && passing->converged) {
    inputs[0] = inputs[0].detach();
    for (std::int64_t i = 0; i < options.truncation; ++i) inputs[0] = apply<T>(message_step<T>(passing), inputs);
  }
  return inputs[0];
}

/// The same at temperature 1 of potentials divided by the temperature: messages, beliefs and log-partition are
/// proportional.
template <class T>
InferenceResult<T> pass_cooled(const FactorGraph<T>& graph, const std::shared_ptr<const PairwisePlan>& plan,
                               const BeliefPropagation& options) {
  const auto scale = static_cast<T>(1 / options.temperature);
  FactorGraph<T> cooled = graph;
  for (std::size_t g = 0; g < graph.all_potentials().size(); ++g)
    cooled.set_potentials(static_cast<std::int64_t>(g), graph.all_potentials()[g] * scale);
  auto result = pass_pairwise(cooled, plan, options);
  result.log_partition = result.log_partition * static_cast<T>(options.temperature);
  if (result.assignment) result.assignment_score = graph.score(*result.assignment);
  return result;
}

}  // namespace

template <class T>
InferenceResult<T> pass_messages(const FactorGraph<T>& graph, const BeliefPropagation& options,
                                 std::vector<double> weights, bool by_factor) {
  const auto start = std::chrono::steady_clock::now();
  if (graph.factor_groups().empty()) fail<GraphError>(method_name, "the graph has no factors");
  if (!(options.damping >= 0 && options.damping < 1))
    fail<NumericalError>(method_name, "damping is ", options.damping, ", outside [0, 1)");
  const auto mode = options.gradient;
  const bool through =
      mode == GradientMode::unrolled || mode == GradientMode::truncated || mode == GradientMode::checkpointed;
  InferenceResult<T> result;
  std::shared_ptr<const PairwisePlan> plan;
  if (options.schedule == Schedule::flooding && options.temperature > 0 && !by_factor)
    plan = PairwisePlan::of(graph.structure(), weights);
  if (plan != nullptr) {
    BeliefPropagation weighted = options;
    weighted.weights = std::move(weights);
    result = options.temperature == 1 ? pass_pairwise(graph, plan, weighted) : pass_cooled(graph, plan, weighted);
  } else {
    const auto passing = std::make_shared<Passing>(graph.structure(), options, std::move(weights), graph.batch());
    const auto& potentials = graph.all_potentials();
    Var<T> messages;
    if (differentiable(graph) && through && options.schedule == Schedule::flooding) {
      messages = unroll(passing, potentials);
    } else {
      const bool keep = differentiable(graph) && mode != GradientMode::likelihood;
      const EnableGradients enable(keep);
      messages = apply<T>(message_iterations<T>(passing, keep), potentials);
    }
    std::vector<Var<T>> inputs = {messages};
    inputs.insert(inputs.end(), potentials.begin(), potentials.end());
    result = result_of(graph, apply_all<T>(read_messages<T>(passing), inputs));
    if (!options.factor_marginals) result.factors.clear();
    result.converged = passing->converged;
    if (result.possible && !capturing()) {
      std::vector<std::int64_t> best;
      for (std::int64_t b = 0; b < passing->batches(); ++b) {
        const T* own = messages.data() + b * passing->engine.size();
        const auto states = passing->engine.decode(std::vector<double>(own, own + passing->engine.size()).data());
        best.insert(best.end(), states.begin(), states.end());
      }
      set_assignment(graph, result, best, graph.variables());
      if (options.temperature == 0) refine_assignment(graph, result);
    }
    result.trace = std::move(passing->trace);
    if (mode == GradientMode::implicit) result.adjoint = passing->adjoint;
  }
  judge(result.trace, result.converged);
  result.trace.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace detail

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const BeliefPropagation& options) {
  return detail::pass_messages(graph, options, detail::spread_weights(*graph.structure(), options.weights));
}

namespace {

BeliefPropagation passing_of(const TreeReweighted& options) {
  return {.iterations = options.iterations,
          .tolerance = options.tolerance,
          .damping = options.damping,
          .schedule = options.schedule,
          .gradient = options.gradient,
          .truncation = options.truncation,
          .seed = options.seed};
}

/// The mutual information of each factor's variables at the beliefs, summed over the batch; 0 of other kinds than
/// tables.
template <class T>
std::vector<double> mutual_information(const FactorGraph<T>& graph, const InferenceResult<T>& result) {
  const std::int64_t batches = std::max<std::int64_t>(graph.batch(), 1);
  std::vector<double> out;
  for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
    const auto& group = graph.factor_groups()[g];
    const std::int64_t entries = group.table().elements();
    const T* beliefs = result.factors[g].data();
    const std::size_t first = out.size();
    out.resize(first + static_cast<std::size_t>(group.factors()), 0.0);
    if (group.kind != FactorKind::table || group.arity() < 2) continue;
    for (std::int64_t n = 0; n < batches * group.factors(); ++n, beliefs += entries) {
      double& information = out[first + static_cast<std::size_t>(n % group.factors())];
      std::int64_t stride = entries;
      for (const std::int64_t k : group.cardinalities) {
        stride /= k;
        std::vector<double> marginal(static_cast<std::size_t>(k), 0.0);
        for (std::int64_t e = 0; e < entries; ++e)
          marginal[static_cast<std::size_t>(e / stride % k)] += static_cast<double>(beliefs[e]);
        for (const double p : marginal)
          if (p > 0) information -= p * std::log(p);
      }
      for (std::int64_t e = 0; e < entries; ++e) {
        const auto p = static_cast<double>(beliefs[e]);
        if (p > 0) information += p * std::log(p);
      }
    }
  }
  return out;
}

}  // namespace

template <class T>
std::vector<double> tree_weights(const FactorGraph<T>& graph, const TreeReweighted& options,
                                 std::vector<double>* bounds) {
  constexpr double shortest_step = 1e-3;
  const NoGradients none;
  const auto passing = passing_of(options);
  auto weights = detail::spread_weights(*graph.structure(), options.weights);
  if (weights.empty()) weights = detail::spanning_forest_weights(*graph.structure(), options.forests, options.seed);
  const auto bound_of = [](const InferenceResult<T>& result) {
    double total = 0;
    for (std::int64_t b = 0; b < result.log_partition.size(); ++b)
      total += static_cast<double>(result.log_partition.data()[b]);
    return total;
  };
  auto best = detail::pass_messages(graph, passing, weights);
  double bound = bound_of(best);
  if (bounds != nullptr) *bounds = {bound};
  double step = .5;
  for (int update = 0; update < options.weight_updates && best.converged && best.possible; ++update) {
    const auto forest = detail::maximum_forest(*graph.structure(), mutual_information(graph, best));
    bool lower = false;
    // The step that was taken last is tried first, twice as long.
    for (step = std::min(.5, 2 * step); step > shortest_step && !lower; step /= 2) {
      auto moved = weights;
      for (std::size_t f = 0; f < moved.size(); ++f) moved[f] = (1 - step) * moved[f] + (forest[f] ? step : 0);
      auto tried = detail::pass_messages(graph, passing, moved);
      lower = tried.converged && bound_of(tried) < bound;
      if (!lower) continue;
      weights = std::move(moved);
      bound = bound_of(tried);
      best = std::move(tried);
      if (bounds != nullptr) bounds->push_back(bound);
      break;
    }
    if (!lower) break;
  }
  return weights;
}

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const TreeReweighted& options) {
  std::vector<double> bounds;
  auto weights = detail::spread_weights(*graph.structure(), options.weights);
  if (options.weight_updates > 0)
    weights = tree_weights(graph, options, &bounds);
  else if (weights.empty())
    weights = detail::spanning_forest_weights(*graph.structure(), options.forests, options.seed);
  const bool bounds_it = detail::may_be_forest_weights(*graph.structure(), weights);
  auto result = detail::pass_messages(graph, passing_of(options), std::move(weights));
  if (result.converged && bounds_it) result.kind = BoundKind::upper_bound;
  result.trace.bound = std::move(bounds);
  detail::check_bound(graph, result, "tree_reweighted");
  return result;
}

template std::vector<double> tree_weights(const FactorGraph<float>&, const TreeReweighted&, std::vector<double>*);
template std::vector<double> tree_weights(const FactorGraph<double>&, const TreeReweighted&, std::vector<double>*);
template InferenceResult<float> infer(const FactorGraph<float>&, const BeliefPropagation&);
template InferenceResult<double> infer(const FactorGraph<double>&, const BeliefPropagation&);
template InferenceResult<float> infer(const FactorGraph<float>&, const TreeReweighted&);
template InferenceResult<double> infer(const FactorGraph<double>&, const TreeReweighted&);

namespace detail {
template InferenceResult<float> pass_messages(const FactorGraph<float>&, const BeliefPropagation&, std::vector<double>,
                                              bool);
template InferenceResult<double> pass_messages(const FactorGraph<double>&, const BeliefPropagation&,
                                               std::vector<double>, bool);
}  // namespace detail

}  // namespace tapestry
