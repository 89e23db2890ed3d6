#include <tapestry/prob/inference/parallel_mean_field.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/checkpoint.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/graph/fixed_point.hpp>
#include <tapestry/prob/inference/bound_checks.hpp>
#include <tapestry/prob/inference/message_operations.hpp>

namespace tapestry::detail {

template <class T>
Var<T> ComposedMeanField<T>::logits(const Var<T>& q) const {
  Var<T> out = potentials_.unary;
  for (std::size_t g = 0; g < graph_.groups(); ++g) {
    const int arity = graph_.arity(g);
    std::vector<Var<T>> at;
    for (int i = 0; i < arity; ++i) at.push_back(graph_.spread(graph_.gather(q, g, i), g, i));
    for (int place = 0; place < arity; ++place) {
      Var<T> expected = potentials_.tables[g];
      Axes others;
      for (int i = 0; i < arity; ++i)
        if (i != place) {
          expected = expected * at[static_cast<std::size_t>(i)];
          others.push_back(2 + i);
        }
      out = out + graph_.scatter(sum(expected, others), g, place);
    }
  }
  return out;
}

template <class T>
Var<T> ComposedMeanField<T>::step(const Var<T>& q, double damping) const {
  const Var<T> fresh = graph_.softmax_by_variable(logits(q));
  return damping > 0 ? fresh * static_cast<T>(1 - damping) + q * static_cast<T>(damping) : fresh;
}

template <class T>
Var<T> ComposedMeanField<T>::bound(const Var<T>& q) const {
  // 0 log 0 and 0 * -inf are 0.
  const Var<T> zero = Var<T>::zeros({}), one = Var<T>::ones({});
  const Var<T> possible = greater(q, zero);
  const Var<T> safe = where(possible, q, one);
  const Var<T> unary = where(possible, potentials_.unary, zero);
  Var<T> out = sum(q * (unary - log(safe)), {1}) + potentials_.constant;
  for (std::size_t g = 0; g < graph_.groups(); ++g) {
    Var<T> expected = potentials_.tables[g];
    Axes all{1};
    for (int i = 0; i < graph_.arity(g); ++i) {
      expected = expected * graph_.spread(graph_.gather(q, g, i), g, i);
      all.push_back(2 + i);
    }
    out = out + sum(expected, all);
  }
  return out;
}

namespace {

template <class T>
double change(const Var<T>& a, const Var<T>& b) {
  T most = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a.data()[i] - b.data()[i]));
  return static_cast<double>(most);
}

template <class T>
void check_tables(const GraphStructure& graph, const std::vector<Var<T>>& potentials) {
  for (std::size_t g = 0; g < potentials.size(); ++g) {
    const bool unary = graph.factors[g].arity() < 2;
    for (std::int64_t i = 0; i < potentials[g].size(); ++i) {
      const T x = potentials[g].data()[i];
      if (!(unary ? x < std::numeric_limits<T>::infinity() : std::isfinite(x)))
        fail<NumericalError>("mean_field", "factor group '", graph.factors[g].name, "' has a potential of ", x,
                             "; parallel updates need finite ones");
    }
  }
}

template <class T>
void trace_bound(const ComposedMeanField<T>& field, const Var<T>& q, FieldProgress& progress) {
  if (!progress.bounds) return;
  const NoGradients none;
  progress.trace.bound.push_back(static_cast<double>(field.bound(q).data()[0]));
}

/// q after all iterations, by operations.
template <class T>
Var<T> iterate(const ComposedMeanField<T>& field, const MeanField& options, FieldProgress& progress,
               const std::vector<Var<T>>& potentials, const ComposedGraph<T>& graph) {
  const double tolerance =
      options.tolerance > 0 ? std::max(options.tolerance, 8.0 * std::numeric_limits<T>::epsilon()) : 0;
  const auto mode = options.gradient;
  const bool truncated = mode == GradientMode::truncated;
  const auto advance = [&](const ComposedMeanField<T>& by, const Var<T>& q) {
    const Var<T> next = by.step(q, options.damping);
    ++progress.trace.iterations;
    progress.trace.updates += graph.rows() * graph.structure().size();
    // A program makes all iterations.
    if (capturing()) return next;
    progress.trace.residual.push_back(change(next, q));
    trace_bound(by, next, progress);
    progress.converged = progress.trace.residual.back() <= tolerance;
    return next;
  };
  if (mode == GradientMode::checkpointed && gradients_enabled()) {
    const auto length = static_cast<std::int64_t>(
        std::ceil(std::sqrt(static_cast<double>(std::max<std::int64_t>(options.iterations, 1)))));
    Var<T> q = field.start();
    for (std::int64_t begin = 0; begin < options.iterations && !progress.converged; begin += length) {
      const auto made = std::make_shared<std::int64_t>(-1);
      const std::int64_t most = std::min(length, options.iterations - begin);
      const double damping = options.damping;
      FieldProgress* const traced = &progress;
      const MultiFunction<T> segment = [graph, made, most, damping, traced,
                                        tolerance](const std::vector<Var<T>>& given) {
        const ComposedMeanField<T> again(graph, graph.arrange({given.begin() + 1, given.end()}));
        Var<T> at = given[0];
        if (*made >= 0) {
          for (std::int64_t i = 0; i < *made; ++i) at = again.step(at, damping);
          return std::vector<Var<T>>{at};
        }
        for (*made = 0; *made < most && !traced->converged; ++*made) {
          const Var<T> next = again.step(at, damping);
          ++traced->trace.iterations;
          if (!capturing()) {
            traced->trace.residual.push_back(change(next, at));
            trace_bound(again, next, *traced);
            traced->converged = traced->trace.residual.back() <= tolerance;
          }
          at = next;
        }
        return std::vector<Var<T>>{at};
      };
      std::vector<Var<T>> inputs{q};
      inputs.insert(inputs.end(), potentials.begin(), potentials.end());
      q = checkpoint(segment, inputs)[0];
    }
    return q;
  }
  const bool recorded = mode == GradientMode::unrolled;
  Var<T> q;
  {
    const EnableGradients enable(gradients_enabled() &&
                                 (recorded || (truncated && options.iterations <= options.truncation)));
    q = field.start();
  }
  for (std::int64_t i = 0; i < options.iterations && !progress.converged; ++i) {
    const EnableGradients enable(gradients_enabled() &&
                                 (recorded || (truncated && i + options.truncation >= options.iterations)));
    q = advance(field, q);
  }
  if (truncated && progress.converged) {
    q = q.detach();
    for (std::int64_t i = 0; i < options.truncation; ++i) q = field.step(q, options.damping);
  }
  return q;
}

}  // namespace

template <class T>
InferenceResult<T> parallel_mean_field(const FactorGraph<T>& graph, const MeanField& options, bool composed) {
  const auto start = std::chrono::steady_clock::now();
  if (!(options.damping >= 0 && options.damping < 1))
    fail<NumericalError>("mean_field", "damping is ", options.damping, ", outside [0, 1)");
  for (const auto& group : graph.factor_groups())
    if (group.kind != FactorKind::table)
      fail<GraphError>("mean_field", "parallel updates take tables, factor group '", group.name,
                       "' is of another kind: take MeanFieldUpdate::coordinate, or write its factors out as tables");
  const ComposedGraph<T> parts(graph.structure(), graph.batch());
  const auto& potentials = graph.all_potentials();
  if (!capturing()) check_tables(*graph.structure(), potentials);
  const bool wanted = differentiable(graph);
  const ComposedMeanField<T> field(parts, parts.arrange(potentials));
  const auto progress = std::make_shared<FieldProgress>();
  progress->bounds = options.trace_bounds && !capturing();
  std::vector<Var<T>> outputs;
  const auto plan = composed ? nullptr : PairwisePlan::of(graph.structure());
  const bool implicit = wanted && options.gradient == GradientMode::implicit;
  Var<T> bound, q;
  std::shared_ptr<const FixedPointReport> adjoint;
  if (plan != nullptr) {
    const EnableGradients enable(wanted && !implicit);
    outputs = pairwise_mean_field(plan, potentials, options, graph.batch(), wanted && !implicit, progress);
    bound = outputs[0];
    q = outputs[1];
  } else {
    q = iterate(field, options, *progress, potentials, parts);
  }
  if (implicit) {
    const auto found =
        fixed_point([field, damping = options.damping](const Var<T>& at) { return field.step(at, damping); }, q,
                    {.max_iterations = 1});
    q = found.state;
    adjoint = found.adjoint;
  }
  if (implicit || plan == nullptr) bound = field.bound(q);
  outputs = {graph.batch() > 0 ? reshape(broadcast_to(bound, Shape{parts.rows()}), Shape{parts.rows()})
                               : reshape(bound, Shape())};
  for (auto& group : parts.by_variable_group(q)) outputs.push_back(std::move(group));
  if (options.factor_marginals) {
    std::vector<Var<T>> factors(graph.factor_groups().size());
    for (std::size_t g = 0; g < parts.groups(); ++g) {
      Var<T> product = parts.spread(parts.gather(q, g, 0), g, 0);
      for (int i = 1; i < parts.arity(g); ++i) product = product * parts.spread(parts.gather(q, g, i), g, i);
      factors[parts.number(g)] = parts.as_result(product);
    }
    for (std::size_t g = 0; g < factors.size(); ++g) {
      const auto& group = graph.factor_groups()[g];
      if (!factors[g].defined()) factors[g] = parts.as_result(parts.small_factor(q, group));
      outputs.push_back(factors[g]);
    }
  }
  auto result = result_of(graph, std::move(outputs));
  result.kind = BoundKind::lower_bound;
  result.converged = progress->converged;
  result.adjoint = std::move(adjoint);
  result.trace = progress->trace;
  if (result.possible && !capturing()) {
    std::vector<std::int64_t> best;
    for (std::int64_t b = 0; b < parts.rows(); ++b)
      for (const auto& group : graph.variable_groups())
        for (std::int64_t v = 0; v < group.size(); ++v) {
          const T* p = q.data() + b * graph.structure()->states() + group.first_state + v * group.cardinality;
          best.push_back(std::max_element(p, p + group.cardinality) - p);
        }
    set_assignment(graph, result, best, graph.variables());
  } else if (!capturing()) {
    std::vector<bool> impossible;
    for (std::int64_t b = 0; b < parts.rows(); ++b)
      impossible.push_back(result.log_partition.data()[b] == -std::numeric_limits<T>::infinity());
    rule_out(result, impossible);
  }
  judge(result.trace, result.converged);
  check_bound(graph, result, "mean_field");
  result.trace.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

#define TAPESTRY_INSTANTIATE(T)        \
  template class ComposedMeanField<T>; \
  template InferenceResult<T> parallel_mean_field(const FactorGraph<T>&, const MeanField&, bool);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
