#include <tapestry/prob/inference/pairwise_passing.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/composed_vjp.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/composed_beliefs.hpp>
#include <tapestry/prob/inference/kept_iterations.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/saved_structure.hpp>

namespace tapestry::detail {
namespace {

/// What one inference tells beside its outputs.
struct Progress {
  InferenceTrace trace;
  bool converged = true;
  std::shared_ptr<FixedPointReport> adjoint = std::make_shared<FixedPointReport>();
};

/// Inputs: potentials. Outputs: log-partition, probabilities of each variable group and each factor group.
template <class T>
class PairwisePassing final : public Operation<T>, public SavedOperation {
 public:
  using Engine = PairwiseBeliefPropagationEngine<T>;
  using Messages = PairwiseMessages<T>;
  using Shapes = detail::Shapes;
  using Mode = GradientMode;
  PairwisePassing(std::shared_ptr<const PairwisePlan> plan, const BeliefPropagation& options, std::int64_t batch,
                  bool keep, std::shared_ptr<Progress> progress)
      : plan_(std::move(plan)),
        options_(options),
        layout_{plan_->graph(), batch, options.factor_marginals},
        keep_(keep),
        progress_(std::move(progress)) {}
  explicit PairwisePassing(Attributes& a) : PairwisePassing(read_setting(a)) {}
  void attributes(Attributes& a) override {
    Setting setting{plan_->structure(), nullptr, options_, layout_.batch, keep_};
    setting.exchange(a);
  }
  bool suits(const Shapes& in) override { return are_potentials(plan_->graph(), in, 0, layout_.batch); }
  std::string_view name() const override { return "pairwise_passing"; }
  int outputs() const override { return layout_.outputs(); }
  Shape shape(const Shapes&, int output) const override { return layout_.shape(output); }

  void forward(Forward<T>& c) override {
    const auto potentials = potentials_of(plan_->graph(), c, 0);
    const std::size_t K = static_cast<std::size_t>(plan_->states());
    runs_.clear();
    progress_->trace = InferenceTrace();
    progress_->converged = true;
    for (std::int64_t b = 0; b < layout_.batches(); ++b) {
      runs_.emplace_back(Engine(plan_->wiring(), K));
      Run& run = runs_.back();
      run.potentials.load(*plan_, potentials.data, potentials.layouts, b);
      iterate(run, b == 0);
      read(run, b, c);
      if (!keep_) runs_.clear();
    }
  }

  /// Beyond the first order the same iterations are composed of operations.
  void vjp(Vjp<T>& c) override {
    vjp_through<T>(c, [this](const std::vector<Var<T>>& potentials) {
      const ComposedGraph<T> graph(plan_->structure(), layout_.batch);
      const ComposedBeliefs<T> beliefs(graph, graph.arrange(potentials));
      std::vector<std::int64_t> steps;
      std::int64_t most = 0;
      for (const Run& run : runs_) {
        steps.push_back(run.steps);
        most = std::max(most, run.steps);
      }
      const bool truncated = options_.gradient == Mode::truncated && most > options_.truncation;
      const bool constant = options_.gradient == Mode::likelihood || options_.gradient == Mode::implicit;
      auto messages = beliefs.run(beliefs.start(), steps,
                                  constant    ? 0
                                  : truncated ? options_.truncation
                                              : most,
                                  options_.damping, truncated);
      if (options_.gradient == Mode::implicit)
        messages = fixed_point([beliefs, damping = options_.damping](
                                   const std::vector<Var<T>>& at) { return beliefs.step(at, damping); },
                               messages, {.max_iterations = 1, .adjoint_tolerance = implicit_tolerance})
                       .state;
      auto outputs = beliefs.read(messages, layout_.factors);
      outputs[0] = reshape(outputs[0], layout_.shape(0));
      return outputs;
    });
  }

  void backward(Backward<T>& c) override {
    const auto potentials = potentials_of(plan_->graph(), c, 0);
    *progress_->adjoint = solved_adjoint();
    if (!keep_) fail<GraphError>(name(), "was made without gradients");
    for (std::int64_t b = 0; b < layout_.batches(); ++b) {
      Run& run = runs_[static_cast<std::size_t>(b)];
      if (c.output(0)[b] == -std::numeric_limits<T>::infinity()) continue;
      run.potentials.refer(*plan_, potentials.data, potentials.layouts, b);
      auto g = read_backward(run, b, c);
      pass_back(run, g);
      hand_out(run, g, b, potentials, c);
    }
  }

 private:
  struct Setting {
    std::shared_ptr<const GraphStructure> structure;
    std::shared_ptr<const PairwisePlan> plan = nullptr;
    BeliefPropagation options = {};
    std::int64_t batch = 0;
    bool keep = true;
    void exchange(Attributes& a) {
      detail::exchange(a, structure);
      a(options.iterations), a(options.tolerance), a(options.damping), a(options.gradient), a(options.truncation);
      a(options.factor_marginals), a(batch), a(keep);
      require_iterations(options.iterations, options.damping);
      require_iterations(options.truncation, 0);
      Attributes::require(batch >= 0 && options.gradient >= Mode::unrolled && options.gradient <= Mode::likelihood);
    }
  };
  static Setting read_setting(Attributes& a) {
    Setting out;
    out.exchange(a);
    out.plan = PairwisePlan::of(out.structure);
    Attributes::require(out.plan != nullptr);
    return out;
  }
  explicit PairwisePassing(const Setting& s)
      : PairwisePassing(s.plan, s.options, s.batch, s.keep, std::make_shared<Progress>()) {}

  struct Run {
    explicit Run(Engine e) : engine(std::move(e)) {}
    Engine engine;
    PairwisePotentials<T> potentials;
    std::vector<Messages> kept;  // those of kept_from, kept_from + stride, ..., and the last
    std::int64_t steps = 0;
    bool converged = false;
    PoolBuffer<T> log_marginals;
  };
  bool pairwise(int output) const {
    return output > 0 && !layout_.variables(output) && plan_->pairwise(layout_.factor_group(output));
  }

  /// Of how many iterations messages are kept apart.
  IterationPlan iterations() const { return IterationPlan::of<T>(options_, keep_); }

  void iterate(Run& run, bool traced) {
    const auto in = run.potentials.input();
    run.engine.prepare(in, static_cast<T>(options_.damping));
    const IterationPlan plan = iterations();
    const bool in_place = !plan.history() && run.engine.in_probabilities();
    const bool spend = options_.gradient != Mode::checkpointed;
    T change = 0;
    Messages first;
    run.engine.start(first);
    run.converged = iterate_keeping(
        plan, std::move(first), run.kept, run.steps,
        [&](Messages& now, Messages& next) {
          change = in_place ? run.engine.renew(now) : run.engine.step(in, now, next, true, spend);
          if (in_place) std::swap(now, next);
        },
        [&](const Messages&, const Messages&) {
          const auto residual = static_cast<double>(change);
          if (traced) progress_->trace.residual.push_back(residual);
          if (traced) ++progress_->trace.iterations;
          progress_->trace.updates += plan_->pairs();
          return residual;
        });
    progress_->converged = progress_->converged && run.converged;
    if (keep_ && options_.gradient == Mode::implicit) run.engine.find_cavities(in, run.kept.back());
  }

  void read(Run& run, std::int64_t b, Forward<T>& c) {
    const std::int64_t K = plan_->states();
    const auto& graph = plan_->graph();
    const auto states = static_cast<std::size_t>(graph.states());
    T* log_marginals = run.log_marginals.reserve(states);
    std::vector<typename Engine::FactorPart> parts;
    for (int output = 1; output < outputs(); ++output)
      if (pairwise(output)) {
        const std::int64_t n = layout_.elements(output);
        parts.push_back({static_cast<std::size_t>(n / (K * K)), c.output(output).data + b * n});
      }
    c.output(0)[b] = static_cast<T>(run.engine.read(run.potentials.input(), run.kept.back(), log_marginals, parts));
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

  PairwiseGradients<T> read_backward(Run& run, std::int64_t b, Backward<T>& c) {
    const std::int64_t K = plan_->states(), square = K * K;
    const auto& graph = plan_->graph();
    const std::int64_t entries = plan_->pairs() * square;
    PoolBuffer<T> variables(run.log_marginals.size()), factors, probabilities;
    std::fill_n(variables.data(), variables.size(), T(0));
    bool any_factor = false;
    for (int output = 1; output < outputs(); ++output)
      any_factor = any_factor || (pairwise(output) && c.has_gradient(output));
    if (any_factor) std::fill_n(factors.reserve(static_cast<std::size_t>(entries)), entries, T(0));
    const bool constant = options_.gradient == Mode::likelihood;
    bool any_variable = false;
    std::int64_t first_pair = 0;
    for (int output = 1; output < outputs(); ++output) {
      const std::int64_t n = layout_.elements(output);
      const bool pair = pairwise(output);
      // With constant messages a factor's belief depends on its own potential alone: hand_out() sees to the unary ones.
      if (c.has_gradient(output) && (pair || !constant)) {
        const T* g = c.gradient(output).data + b * n;
        if (pair) {
          std::copy_n(g, n, factors.data() + first_pair * square);
        } else if (layout_.variables(output)) {
          any_variable = true;
          for (std::int64_t i = 0; i < n; ++i) variables.data()[layout_.variable_group(output).first_state + i] += g[i];
        } else {
          any_variable = true;
          const auto& group = graph.factors[layout_.factor_group(output)];
          for (std::int64_t f = 0; f < group.factors(); ++f)
            for (std::int64_t k = 0; k < K; ++k) variables.data()[group.scopes[f] * K + k] += g[f * K + k];
        }
      }
      if (pair) first_pair += n / square;
    }
    const T partition = c.has_gradient(0) ? c.gradient(0)[b] : T(0);
    const bool through_factors = partition != T(0) || any_factor;
    if (through_factors) {
      // Computed again: the outputs may be several.
      PoolBuffer<T> ignored(run.log_marginals.size());
      run.engine.read(
          run.potentials.input(), run.kept.back(), ignored.data(),
          {{static_cast<std::size_t>(plan_->pairs()), probabilities.reserve(static_cast<std::size_t>(entries))}});
    }
    return run.engine.from_beliefs(run.log_marginals.data(), through_factors ? probabilities.data() : nullptr,
                                   partition, any_variable ? variables.data() : nullptr,
                                   any_factor ? factors.data() : nullptr);
  }

  void pass_back(Run& run, PairwiseGradients<T>& g) {
    if (options_.gradient == Mode::likelihood) return;
    const auto in = run.potentials.input();
    auto& kept = run.kept;
    run.engine.enter(g);
    if (options_.gradient == Mode::implicit) {
      // The sum of the powers of the step's transposed Jacobian.
      const T enough = std::max<T>(T(implicit_tolerance), std::numeric_limits<T>::epsilon());
      const int most = implicit_steps(run.converged, run.steps);
      T largest = 0, left = 0, first = 0;
      int n = 0;
      do {
        ++n;
        run.engine.step_backward(in, kept.back(), kept.back(), g);
        left = run.engine.remaining(g);
        largest = std::max(largest, left);
        if (n == 1) first = left;
      } while (n < most && left > enough * largest && (run.converged || left <= first));
      report_adjoint(*progress_->adjoint, run.converged, left <= enough * largest, n,
                     largest > 0 ? static_cast<double>(left / largest) : 0, static_cast<double>(enough));
    } else if (options_.gradient == Mode::checkpointed) {
      const std::int64_t every = iterations().stride();
      for (std::int64_t begin = (run.steps - 1) / every * every; begin >= 0 && run.steps > 0; begin -= every) {
        const std::int64_t end = std::min(begin + every, run.steps);
        std::vector<Messages> segment(static_cast<std::size_t>(end - begin + 1));
        std::swap(segment[0], kept[static_cast<std::size_t>(begin / every)]);
        for (std::int64_t n = begin; n < end; ++n)
          run.engine.step(in, segment[static_cast<std::size_t>(n - begin)],
                          segment[static_cast<std::size_t>(n - begin + 1)]);
        for (std::int64_t n = end; n-- > begin;)
          run.engine.step_backward(in, segment[static_cast<std::size_t>(n - begin)],
                                   segment[static_cast<std::size_t>(n - begin + 1)], g);
        std::swap(segment[0], kept[static_cast<std::size_t>(begin / every)]);
      }
    } else {
      const bool truncated = options_.gradient == Mode::truncated && run.steps > options_.truncation;
      for (std::size_t n = kept.size() - 1; n-- > 0;)
        run.engine.step_backward(in, kept[n], kept[n + 1], g, n > 0 || !truncated);
    }
  }

  void hand_out(Run& run, const PairwiseGradients<T>& g, std::int64_t b, const PotentialInputs<T>& inputs,
                Backward<T>& c) {
    const std::int64_t K = plan_->states(), square = K * K;
    const auto& graph = plan_->graph();
    bool any_pair = false;
    for (std::size_t group = 0; group < graph.factors.size(); ++group)
      any_pair = any_pair || (plan_->pairwise(group) && c.wants(static_cast<int>(group)));
    // Where each factor has its own potential, its gradient needs no place in between.
    const bool own = run.potentials.input().index == nullptr && layout_.batches() == 1;
    PoolBuffer<T> tables(any_pair && !own ? run.potentials.tables() * static_cast<std::size_t>(square) : 0);
    if (any_pair && !own) run.engine.collect(g, run.potentials.input().index, run.potentials.tables(), tables.data());
    for (std::size_t number = 0; number < graph.factors.size(); ++number) {
      const int input = static_cast<int>(number);
      if (!c.wants(input)) continue;
      const auto& layout = inputs.layouts[number];
      const auto& group = graph.factors[number];
      if (own && plan_->pairwise(number)) {
        add_own_tables(run, number, g, c.target(input));
        continue;
      }
      T* out = c.add_to(input) + (layout.batch > 0 ? b * layout.batch_stride : 0);
      if (plan_->pairwise(number)) {
        const T* from = tables.data() + run.potentials.first_table(number) * static_cast<std::size_t>(square);
        const std::int64_t n = (layout.factor_stride == 0 ? 1 : group.factors()) * square;
        kernels<ElementwiseKernels<T>>().accumulate(from, out, static_cast<std::size_t>(n));
        continue;
      }
      if (options_.gradient == Mode::likelihood) {
        add_own_beliefs(run, number, layout, b, c, out);
        continue;
      }
      for (std::int64_t f = 0; f < group.factors(); ++f)
        for (std::int64_t k = 0; k < K; ++k)
          out[f * layout.factor_stride + k] += g.unary.data()[group.scopes[f] * K + k];
    }
  }

  /// The gradients of pairwise factors that have a potential each.
  void add_own_tables(const Run& run, std::size_t number, const PairwiseGradients<T>& g, const Target<T>& out) {
    const std::size_t first = run.potentials.first_table(number);
    const auto count = static_cast<std::size_t>(plan_->graph().factors[number].factors());
    const auto elements = static_cast<std::size_t>(out.size());
    const PoolBuffer<T> scratch(out.accumulate ? elements : 0);
    run.engine.collect_own(g, first, count, out.accumulate ? scratch.data() : out.data);
    if (out.accumulate) kernels<ElementwiseKernels<T>>().accumulate(scratch.data(), out.data, elements);
  }

  /// The gradients of unary factors where messages are constants.
  void add_own_beliefs(const Run& run, std::size_t number, const PotentialLayout& layout, std::int64_t b,
                       Backward<T>& c, T* out) {
    const std::int64_t K = plan_->states();
    const auto& group = plan_->graph().factors[number];
    const int output = 1 + static_cast<int>(plan_->graph().variables.size() + number);
    const T partition = c.has_gradient(0) ? c.gradient(0)[b] : T(0);
    const T* given =
        output < outputs() && c.has_gradient(output) ? c.gradient(output).data + b * group.factors() * K : nullptr;
    for (std::int64_t f = 0; f < group.factors(); ++f) {
      const T* log_p = run.log_marginals.data() + group.scopes[f] * K;
      T mean = 0;
      for (std::int64_t k = 0; given != nullptr && k < K; ++k) mean += std::exp(log_p[k]) * given[f * K + k];
      for (std::int64_t k = 0; k < K; ++k)
        out[f * layout.factor_stride + k] +=
            std::exp(log_p[k]) * (partition + (given == nullptr ? T(0) : given[f * K + k] - mean));
    }
  }

  std::shared_ptr<const PairwisePlan> plan_;
  BeliefPropagation options_;
  BeliefLayout layout_;
  bool keep_;
  std::shared_ptr<Progress> progress_;
  std::vector<Run> runs_;
};

}  // namespace

void register_pairwise_passing() {
  register_operations<PairwisePassing>("pairwise_passing");
}

template <class T>
InferenceResult<T> pass_pairwise(const FactorGraph<T>& graph, const std::shared_ptr<const PairwisePlan>& plan,
                                 const BeliefPropagation& options) {
  const auto progress = std::make_shared<Progress>();
  const auto& potentials = graph.all_potentials();
  auto outputs = apply_all<T>(
      std::make_unique<PairwisePassing<T>>(plan, options, graph.batch(), differentiable(graph), progress), potentials);
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
