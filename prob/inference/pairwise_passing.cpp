#include <tapestry/prob/inference/pairwise_passing.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>

#include <tapestry/autodiff/composed_vjp.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/composed_beliefs.hpp>
#include <tapestry/prob/inference/pairwise_passing_operation.hpp>

namespace tapestry::detail {

template <class T>
void PairwisePassing<T>::forward(Forward<T>& c) {
  const auto potentials = potentials_of(plan().graph(), c, 0);
  const std::size_t K = static_cast<std::size_t>(plan().states());
  runs_.clear();
  progress_->trace = InferenceTrace();
  progress_->converged = true;
  for (std::int64_t b = 0; b < layout_.batches(); ++b) {
    runs_.emplace_back(Engine(plan().wiring(), K));
    Run& run = runs_.back();
    run.engine.set_weights(plan().weights());
    run.potentials.load(plan(), potentials.data, potentials.layouts, b);
    iterate(run, b == 0);
    read(run, b, c);
    if (!setting_.keep) runs_.clear();
  }
}

template <class T>
void PairwisePassing<T>::vjp(Vjp<T>& c) {
  vjp_through<T>(c, [this](const std::vector<Var<T>>& potentials) {
    const ComposedGraph<T> graph(plan().structure(), setting_.batch);
    const ComposedBeliefs<T> beliefs(graph, graph.arrange(potentials), options().weights);
    std::vector<std::int64_t> steps;
    std::int64_t most = 0;
    for (const Run& run : runs_) {
      steps.push_back(run.steps);
      most = std::max(most, run.steps);
    }
    const bool truncated = options().gradient == Mode::truncated && most > options().truncation;
    const bool constant = options().gradient == Mode::likelihood || options().gradient == Mode::implicit;
    auto messages = beliefs.run(beliefs.start(), steps,
                                constant    ? 0
                                : truncated ? options().truncation
                                            : most,
                                options().damping, truncated);
    if (options().gradient == Mode::implicit)
      messages = fixed_point([beliefs, damping = options().damping](
                                 const std::vector<Var<T>>& at) { return beliefs.step(at, damping); },
                             messages, {.max_iterations = 1, .adjoint_tolerance = implicit_tolerance})
                     .state;
    auto outputs = beliefs.read(messages, layout_.factors);
    outputs[0] = reshape(outputs[0], layout_.shape(0));
    return outputs;
  });
}

template <class T>
void PairwisePassing<T>::iterate(Run& run, bool traced) {
  const auto in = run.potentials.input();
  run.engine.prepare(in, static_cast<T>(options().damping));
  const IterationPlan order = iterations();
  const bool in_place = !order.history() && run.engine.in_probabilities();
  const bool spend = options().gradient != Mode::checkpointed;
  T change = 0;
  Messages first;
  run.engine.start(first);
  run.converged = iterate_keeping(
      order, std::move(first), run.kept, run.steps,
      [&](Messages& now, Messages& next) {
        change = in_place ? run.engine.renew(now) : run.engine.step(in, now, next, true, spend);
        if (in_place) std::swap(now, next);
      },
      [&](const Messages&, const Messages&) {
        const auto residual = static_cast<double>(change);
        if (traced) progress_->trace.residual.push_back(residual);
        if (traced) ++progress_->trace.iterations;
        progress_->trace.updates += plan().pairs();
        return residual;
      });
  progress_->converged = progress_->converged && run.converged;
  if (setting_.keep && options().gradient == Mode::implicit) run.engine.find_cavities(in, run.kept.back());
}

template <class T>
void PairwisePassing<T>::read(Run& run, std::int64_t b, Forward<T>& c) {
  const std::int64_t K = plan().states();
  const auto& graph = plan().graph();
  const auto states = static_cast<std::size_t>(graph.states());
  T* log_marginals = run.log_marginals.reserve(states);
  std::vector<typename Engine::FactorPart> parts;
  for (int output = 1; output < outputs(); ++output)
    if (pairwise(output)) {
      const std::int64_t n = layout_.elements(output);
      parts.push_back({static_cast<std::size_t>(n / (K * K)), c.output(output).data + b * n});
    }
  c.output(0)[b] = static_cast<T>(run.engine.read(run.potentials.input(), run.kept.back(), log_marginals, parts));
  if (c.output(0)[b] == -std::numeric_limits<T>::infinity()) {
    for (int output = 1; output < outputs(); ++output)
      std::fill_n(c.output(output).data + b * layout_.elements(output), layout_.elements(output), T(0));
    return;
  }
  PoolBuffer<T> marginals(states);
  kernels<PairwiseBeliefKernels<T>>().exp(log_marginals, states, marginals.data());
  for (int output = 1; output < outputs(); ++output) {
    const std::int64_t n = layout_.elements(output);
    T* out = c.output(output).data + b * n;
    if (layout_.variables(output)) {
      std::copy_n(marginals.data() + layout_.variable_group(output).first_state, n, out);
    } else if (!pairwise(output)) {
      const auto& group = graph.factors[layout_.factor_group(output)];
      for (std::int64_t f = 0; f < group.factors(); ++f)
        std::copy_n(marginals.data() + group.scopes[f] * K, K, out + f * K);
    }
  }
}

void register_pairwise_passing() {
  register_operations<PairwisePassing>("pairwise_passing");
}

template <class T>
InferenceResult<T> pass_pairwise(const FactorGraph<T>& graph, const std::shared_ptr<const PairwisePlan>& plan,
                                 const BeliefPropagation& options) {
  const auto progress = std::make_shared<PairwiseProgress>();
  const auto& potentials = graph.all_potentials();
  auto outputs = apply_all<T>(
      std::make_unique<PairwisePassing<T>>(
          PairwiseSetting<BeliefPropagation>(plan, options, graph.batch(), differentiable(graph)), progress),
      potentials);
  auto result = result_of(graph, std::move(outputs));
  result.converged = progress->converged;
  result.trace = std::move(progress->trace);
  if (options.gradient == GradientMode::implicit) result.adjoint = progress->adjoint;
  if (result.possible && !capturing()) {
    const std::int64_t n = graph.variables(), K = plan->states();
    std::vector<std::int64_t> best;
    best.reserve(static_cast<std::size_t>(n * result.log_partition.size()));
    for (std::int64_t b = 0; b < result.log_partition.size(); ++b)
      for (const auto& marginals : result.variables) {
        const std::int64_t size = marginals.size() / result.log_partition.size();
        for (const T* p = marginals.data() + b * size; p != marginals.data() + (b + 1) * size; p += K)
          best.push_back(std::max_element(p, p + K) - p);
      }
    set_assignment(graph, result, best, n);
  }
  return result;
}

template InferenceResult<float> pass_pairwise(const FactorGraph<float>&, const std::shared_ptr<const PairwisePlan>&,
                                              const BeliefPropagation&);
template InferenceResult<double> pass_pairwise(const FactorGraph<double>&, const std::shared_ptr<const PairwisePlan>&,
                                               const BeliefPropagation&);

}  // namespace tapestry::detail
