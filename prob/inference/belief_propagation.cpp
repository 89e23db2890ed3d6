#include <tapestry/prob/inference/belief_propagation.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/message_engine.hpp>
#include <tapestry/prob/inference/spanning_forests.hpp>

namespace tapestry {
namespace detail {
namespace {

constexpr auto method_name = "belief_propagation";
// Of the equations that implicit gradients solve by iteration.
constexpr int most_implicit_steps = 1000;
constexpr double implicit_tolerance = 1e-12;

/// Potentials of an operation's inputs from `first` on, and where their gradients go.
template <class T>
struct PotentialInputs {
  std::vector<const T*> data;
  std::vector<PotentialLayout> layouts;
};

template <class T>
PotentialInputs<T> potentials_of(const GraphStructure& graph, Forward<T>& c, int first) {
  PotentialInputs<T> out;
  for (std::size_t g = 0; g < graph.factors.size(); ++g) {
    const auto input = c.input(first + static_cast<int>(g));
    out.data.push_back(input.data);
    out.layouts.push_back(PotentialLayout::of(graph.factors[g], input.shape));
  }
  return out;
}
template <class T>
PotentialInputs<T> potentials_of(const GraphStructure& graph, Backward<T>& c, int first) {
  PotentialInputs<T> out;
  for (std::size_t g = 0; g < graph.factors.size(); ++g) {
    const auto input = c.input(first + static_cast<int>(g));
    out.data.push_back(input.data);
    out.layouts.push_back(PotentialLayout::of(graph.factors[g], input.shape));
  }
  return out;
}

/// Adds gradients of each factor's own potentials to those of the tensors that they share.
template <class T>
void add_potential_gradients(const MessageEngine& engine, Backward<T>& c, int first, const PotentialInputs<T>& inputs,
                             std::int64_t b, const std::vector<double>& gradients) {
  const auto& graph = engine.graph();
  for (std::size_t g = 0; g < graph.factors.size(); ++g) {
    const int input = first + static_cast<int>(g);
    if (!c.wants(input)) continue;
    const auto& layout = inputs.layouts[g];
    T* out = c.add_to(input) + (layout.batch > 0 ? b * layout.batch_stride : 0);
    const double* from = gradients.data() + engine.gradient_offset(g);
    for (std::int64_t f = 0; f < graph.factors[g].factors(); ++f)
      for (std::int64_t e = 0; e < layout.entries; ++e) out[f * layout.factor_stride + e] += static_cast<T>(*from++);
  }
}

/// What the operations of one inference share.
struct Passing {
  Passing(std::shared_ptr<const GraphStructure> structure, const BeliefPropagation& chosen, std::vector<double> weights,
          std::int64_t batch_size)
      : engine(std::move(structure), chosen.temperature, std::move(weights)), options(chosen), batch(batch_size) {}
  std::int64_t batches() const { return std::max<std::int64_t>(batch, 1); }
  Shape message_shape() const { return {batches(), engine.size()}; }

  MessageEngine engine;
  BeliefPropagation options;
  std::int64_t batch;
  InferenceTrace trace;
  double last_residual = 0;
  bool converged = false;
};

template <class T>
std::vector<double> widen(const T* from, std::int64_t n) {
  return std::vector<double>(from, from + n);
}

/// One flooding iteration. Inputs: messages [batch, all], potentials.
template <class T>
class MessageStep final : public Operation<T> {
 public:
  explicit MessageStep(std::shared_ptr<Passing> passing) : passing_(std::move(passing)) {}
  std::string_view name() const override { return "message_step"; }
  Shape shape(const Shapes&, int) const override { return passing_->message_shape(); }

  void forward(Forward<T>& c) override {
    auto& engine = passing_->engine;
    const auto potentials = potentials_of(engine.graph(), c, 1);
    std::vector<double> fresh(static_cast<std::size_t>(engine.size()));
    double residual = 0;
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      engine.load(potentials.data, potentials.layouts, b);
      const auto old = widen(c.input(0).data + b * engine.size(), engine.size());
      residual = std::max(residual, engine.flood(old.data(), passing_->options.damping, fresh.data()));
      std::copy(fresh.begin(), fresh.end(), c.output().data + b * engine.size());
    }
    passing_->last_residual = residual;
  }

  void backward(Backward<T>& c) override {
    auto& engine = passing_->engine;
    const auto potentials = potentials_of(engine.graph(), c, 1);
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      engine.load(potentials.data, potentials.layouts, b);
      const auto old = widen(c.input(0).data + b * engine.size(), engine.size());
      const auto given = widen(c.gradient().data + b * engine.size(), engine.size());
      std::vector<double> g_old(old.size(), 0.0),
          g_potentials(static_cast<std::size_t>(engine.potential_entries()), 0.0);
      engine.flood_backward(old.data(), passing_->options.damping, given.data(), g_old.data(), g_potentials.data());
      if (c.wants(0)) {
        T* out = c.add_to(0) + b * engine.size();
        for (std::size_t i = 0; i < g_old.size(); ++i) out[i] += static_cast<T>(g_old[i]);
      }
      add_potential_gradients(engine, c, 1, potentials, b, g_potentials);
    }
  }

 private:
  std::shared_ptr<Passing> passing_;
};

/// Messages iterated by any schedule until they stay; the gradient is that of the fixed point. Inputs: potentials.
template <class T>
class FixedPointMessages final : public Operation<T> {
 public:
  FixedPointMessages(std::shared_ptr<Passing> passing, std::int64_t iterations)
      : passing_(std::move(passing)), iterations_(iterations) {}
  std::string_view name() const override { return "message_fixed_point"; }
  Shape shape(const Shapes&, int) const override { return passing_->message_shape(); }

  void forward(Forward<T>& c) override {
    auto& engine = passing_->engine;
    const auto potentials = potentials_of(engine.graph(), c, 0);
    bool converged = true;
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      engine.load(potentials.data, potentials.layouts, b);
      const auto messages = iterate(b == 0);
      converged = converged && done_;
      std::copy(messages.begin(), messages.end(), c.output().data + b * engine.size());
    }
    passing_->converged = converged;
  }

  void backward(Backward<T>& c) override {
    auto& engine = passing_->engine;
    const auto potentials = potentials_of(engine.graph(), c, 0);
    const auto n = static_cast<std::size_t>(engine.size());
    // The equation u = g + J^T u is iterated with damping, which does not move the fixed point.
    const double damping = std::max(passing_->options.damping, 0.5);
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      engine.load(potentials.data, potentials.layouts, b);
      const auto messages = widen(c.output().data + b * engine.size(), engine.size());
      const auto given = widen(c.gradient().data + b * engine.size(), engine.size());
      std::vector<double> u(n, 0.0), next, g_potentials;
      for (int step = 0; step < most_implicit_steps; ++step) {
        next = given;
        g_potentials.assign(static_cast<std::size_t>(engine.potential_entries()), 0.0);
        engine.flood_backward(messages.data(), damping, u.data(), next.data(), g_potentials.data());
        double change = 0, largest = 1;
        for (std::size_t i = 0; i < n; ++i) {
          change = std::max(change, std::abs(next[i] - u[i]));
          largest = std::max(largest, std::abs(next[i]));
        }
        u.swap(next);
        if (change <= implicit_tolerance * largest) break;
      }
      g_potentials.assign(g_potentials.size(), 0.0);
      next.assign(n, 0.0);
      engine.flood_backward(messages.data(), damping, u.data(), next.data(), g_potentials.data());
      add_potential_gradients(engine, c, 0, potentials, b, g_potentials);
    }
  }

 private:
  std::vector<double> iterate(bool first) {
    auto& engine = passing_->engine;
    const auto& options = passing_->options;
    std::vector<double> messages = engine.start(), fresh(messages.size()), residuals;
    std::vector<std::int32_t> order;
    if (options.schedule == Schedule::tree) {
      order = engine.tree_order();
    } else {
      order.resize(static_cast<std::size_t>(engine.factors()));
      std::iota(order.begin(), order.end(), 0);
    }
    Generator random(options.seed);
    done_ = false;
    for (std::int64_t i = 0; i < iterations_ && !done_; ++i) {
      double residual = 0;
      if (options.schedule == Schedule::flooding) {
        residual = engine.flood(messages.data(), options.damping, fresh.data());
        messages.swap(fresh);
      } else if (options.schedule == Schedule::residual) {
        residual = engine.residual_sweep(residuals, options.damping, messages.data());
      } else {
        if (options.schedule == Schedule::random)
          for (std::size_t k = order.size(); k > 1; --k)
            std::swap(order[k - 1], order[static_cast<std::size_t>(random.integer(static_cast<std::int64_t>(k)))]);
        residual = engine.sweep(order, options.damping, messages.data());
      }
      if (first) {
        passing_->trace.residual.push_back(residual);
        ++passing_->trace.iterations;
      }
      passing_->trace.updates += static_cast<std::int64_t>(order.size());
      done_ = residual <= options.tolerance;
    }
    return messages;
  }

  std::shared_ptr<Passing> passing_;
  std::int64_t iterations_;
  bool done_ = false;
};

/// Inputs: messages, potentials. Outputs: log-partition, probabilities of each variable group and each factor group.
template <class T>
class ReadMessages final : public Operation<T> {
 public:
  explicit ReadMessages(std::shared_ptr<Passing> passing) : passing_(std::move(passing)) {}
  std::string_view name() const override { return "read_messages"; }
  int outputs() const override { return 1 + variables() + factors(); }
  Shape shape(const Shapes&, int output) const override {
    Shape out;
    if (passing_->batch > 0) out.push_back(passing_->batch);
    if (output == 0) return out;
    const auto& graph = passing_->engine.graph();
    if (output <= variables()) {
      const auto& group = graph.variables[static_cast<std::size_t>(output - 1)];
      for (const std::int64_t extent : group.shape) out.push_back(extent);
      out.push_back(group.cardinality);
      return out;
    }
    const auto& group = graph.factors[static_cast<std::size_t>(output - 1 - variables())];
    out.push_back(group.factors());
    for (const std::int64_t extent : group.table()) out.push_back(extent);
    return out;
  }

  void forward(Forward<T>& c) override {
    auto& engine = passing_->engine;
    const auto& graph = engine.graph();
    const auto potentials = potentials_of(graph, c, 1);
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      engine.load(potentials.data, potentials.layouts, b);
      const auto beliefs = engine.read(widen(c.input(0).data + b * engine.size(), engine.size()).data());
      c.output(0)[b] = static_cast<T>(beliefs.log_partition);
      for (int output = 1; output < outputs(); ++output) {
        const auto [from, n] = range(output);
        const auto& source = output <= variables() ? beliefs.variables : beliefs.factors;
        std::copy(source.begin() + from, source.begin() + from + n, c.output(output).data + b * n);
      }
    }
  }

  void backward(Backward<T>& c) override {
    auto& engine = passing_->engine;
    const auto& graph = engine.graph();
    const auto potentials = potentials_of(graph, c, 1);
    std::vector<double> g_variables(static_cast<std::size_t>(graph.states()), 0.0),
        g_factors(static_cast<std::size_t>(engine.potential_entries()), 0.0);
    bool any_variable = false, any_factor = false;
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      for (int output = 1; output < outputs(); ++output) {
        if (!c.has_gradient(output)) continue;
        const auto [from, n] = range(output);
        (output <= variables() ? any_variable : any_factor) = true;
        auto& to = output <= variables() ? g_variables : g_factors;
        const T* g = c.gradient(output).data + b * n;
        std::copy(g, g + n, to.begin() + from);
      }
      engine.load(potentials.data, potentials.layouts, b);
      const auto messages = widen(c.input(0).data + b * engine.size(), engine.size());
      std::vector<double> g_messages(messages.size(), 0.0),
          g_potentials(static_cast<std::size_t>(engine.potential_entries()), 0.0);
      engine.read_backward(messages.data(), c.has_gradient(0) ? static_cast<double>(c.gradient(0)[b]) : 0,
                           any_variable ? g_variables.data() : nullptr, any_factor ? g_factors.data() : nullptr,
                           g_messages.data(), g_potentials.data());
      if (c.wants(0)) {
        T* out = c.add_to(0) + b * engine.size();
        for (std::size_t i = 0; i < g_messages.size(); ++i) out[i] += static_cast<T>(g_messages[i]);
      }
      add_potential_gradients(engine, c, 1, potentials, b, g_potentials);
    }
  }

 private:
  int variables() const { return static_cast<int>(passing_->engine.graph().variables.size()); }
  int factors() const { return static_cast<int>(passing_->engine.graph().factors.size()); }
  /// Place and number of an output's elements among those of its kind.
  std::pair<std::int64_t, std::int64_t> range(int output) const {
    const auto& graph = passing_->engine.graph();
    if (output <= variables()) {
      const auto& group = graph.variables[static_cast<std::size_t>(output - 1)];
      return {group.first_state, group.size() * group.cardinality};
    }
    const auto g = static_cast<std::size_t>(output - 1 - variables());
    return {passing_->engine.gradient_offset(g),
            passing_->engine.gradient_offset(g + 1) - passing_->engine.gradient_offset(g)};
  }

  std::shared_ptr<Passing> passing_;
};

/// Weights of all factors from none, one a group, or one a factor.
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

template <class T>
InferenceResult<T> pass_messages(const FactorGraph<T>& graph, const BeliefPropagation& options,
                                 std::vector<double> weights) {
  const auto start = std::chrono::steady_clock::now();
  if (graph.factor_groups().empty()) fail<GraphError>(method_name, "the graph has no factors");
  if (!(options.damping >= 0 && options.damping < 1))
    fail<NumericalError>(method_name, "damping is ", options.damping, ", outside [0, 1)");
  const auto passing = std::make_shared<Passing>(graph.structure(), options, std::move(weights), graph.batch());
  const auto& potentials = graph.all_potentials();
  const bool differentiable = gradients_enabled() && std::any_of(potentials.begin(), potentials.end(),
                                                                 [](const auto& p) { return p.requires_grad(); });
  const bool through = options.gradient == GradientMode::unrolled || options.gradient == GradientMode::truncated;
  if (differentiable && through && options.schedule != Schedule::flooding)
    fail<GraphError>(method_name,
                     "gradients through iterations are for the flooding schedule; others take "
                     "GradientMode::implicit or GradientMode::likelihood");

  Var<T> messages;
  if (differentiable && through) {
    Tensor<T> silent = empty_tensor<T>(passing->message_shape());
    std::fill(silent.begin(), silent.end(), T(0));
    messages = Var<T>(std::move(silent));
    std::vector<Var<T>> inputs = {messages};
    inputs.insert(inputs.end(), potentials.begin(), potentials.end());
    for (std::int64_t i = 0; i < options.iterations && !passing->converged; ++i) {
      // The last iterations possible are recorded; where messages converge before, some more are, below.
      const bool recorded = options.gradient == GradientMode::unrolled || i + options.truncation >= options.iterations;
      const EnableGradients enable(recorded);
      inputs[0] = apply<T>(std::make_unique<MessageStep<T>>(passing), inputs);
      const double residual = passing->last_residual;
      passing->trace.residual.push_back(residual);
      ++passing->trace.iterations;
      passing->trace.updates += passing->batches() * passing->engine.factors();
      passing->converged = residual <= options.tolerance;
    }
    if (options.gradient == GradientMode::truncated && passing->converged) {
      inputs[0] = inputs[0].detach();
      for (std::int64_t i = 0; i < options.truncation; ++i)
        inputs[0] = apply<T>(std::make_unique<MessageStep<T>>(passing), inputs);
    }
    messages = inputs[0];
  } else {
    const EnableGradients enable(differentiable && options.gradient == GradientMode::implicit);
    messages = apply<T>(std::make_unique<FixedPointMessages<T>>(passing, options.iterations), potentials);
  }
  std::vector<Var<T>> inputs = {messages};
  inputs.insert(inputs.end(), potentials.begin(), potentials.end());
  const auto outputs = apply_all<T>(std::make_unique<ReadMessages<T>>(passing), inputs);

  InferenceResult<T> result;
  const auto groups = static_cast<std::ptrdiff_t>(graph.variable_groups().size());
  result.log_partition = outputs[0];
  result.variables.assign(outputs.begin() + 1, outputs.begin() + 1 + groups);
  result.factors.assign(outputs.begin() + 1 + groups, outputs.end());
  result.kind = BoundKind::estimate;
  result.converged = passing->converged;
  for (std::int64_t b = 0; b < result.log_partition.size(); ++b)
    result.possible = result.possible && result.log_partition.data()[b] != -std::numeric_limits<T>::infinity();
  if (result.possible) {
    const std::int64_t n = graph.variables();
    IndexTensor best =
        graph.batch() > 0 ? empty_tensor<std::int64_t>({graph.batch(), n}) : empty_tensor<std::int64_t>({n});
    for (std::int64_t b = 0; b < passing->batches(); ++b) {
      const auto states =
          passing->engine.decode(widen(messages.data() + b * passing->engine.size(), passing->engine.size()).data());
      std::copy(states.begin(), states.end(), best.data() + b * n);
    }
    result.assignment_score = graph.score(best);
    result.assignment = std::move(best);
  }
  result.trace = std::move(passing->trace);
  const auto& residual = result.trace.residual;
  if (!result.converged && residual.size() >= 20)
    result.trace.oscillates = *std::min_element(residual.end() - 10, residual.end()) >
                              0.9 * *std::min_element(residual.end() - 20, residual.end() - 10);
  result.trace.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace
}  // namespace detail

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const BeliefPropagation& options) {
  return detail::pass_messages(graph, options, detail::spread_weights(*graph.structure(), options.weights));
}

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const TreeReweighted& options) {
  BeliefPropagation passing{.iterations = options.iterations,
                            .tolerance = options.tolerance,
                            .damping = options.damping,
                            .schedule = options.schedule,
                            .gradient = options.gradient,
                            .truncation = options.truncation,
                            .seed = options.seed};
  auto weights = detail::spread_weights(*graph.structure(), options.weights);
  if (weights.empty()) weights = detail::spanning_forest_weights(*graph.structure(), options.forests, options.seed);
  auto result = detail::pass_messages(graph, passing, std::move(weights));
  if (result.converged) result.kind = BoundKind::upper_bound;
  return result;
}

template InferenceResult<float> infer(const FactorGraph<float>&, const BeliefPropagation&);
template InferenceResult<double> infer(const FactorGraph<double>&, const BeliefPropagation&);
template InferenceResult<float> infer(const FactorGraph<float>&, const TreeReweighted&);
template InferenceResult<double> infer(const FactorGraph<double>&, const TreeReweighted&);

}  // namespace tapestry
