#include <tapestry/prob/inference/message_operations.hpp>

#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/composed_vjp.hpp>
#include <tapestry/prob/inference/composed_messages.hpp>
#include <tapestry/prob/saved_structure.hpp>

namespace tapestry::detail {

void report_adjoint(FixedPointReport& all, bool messages_converged, bool converged, int steps, double residual,
                    double tolerance) {
  all.converged = all.converged && messages_converged && converged;
  all.iterations = std::max<std::int64_t>(all.iterations, steps);
  all.residuals.push_back(residual);
  all.tolerance = tolerance;
  if (!messages_converged)
    all.message =
        "belief_propagation: messages did not converge; the implicit gradient is that of as many iterations at the "
        "last messages, not of a fixed point";
  else if (!converged)
    all.message = "belief_propagation: the equation for the implicit gradient was not solved to its tolerance";
}

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

template void add_potential_gradients(const MessageEngine&, Backward<float>&, int, const PotentialInputs<float>&,
                                      std::int64_t, const std::vector<double>&);
template void add_potential_gradients(const MessageEngine&, Backward<double>&, int, const PotentialInputs<double>&,
                                      std::int64_t, const std::vector<double>&);

void exchange(Attributes& a, std::shared_ptr<Passing>& passing) {
  a.shared(passing, [&a](std::shared_ptr<Passing>& whole) {
    auto structure = whole ? whole->structure : nullptr;
    BeliefPropagation options = whole ? whole->options : BeliefPropagation();
    std::int64_t batch = whole ? whole->batch : 0, factors = 0;
    exchange(a, structure);
    a(options.iterations), a(options.tolerance), a(options.damping), a(options.temperature), a(options.schedule);
    a(options.gradient), a(options.truncation), a(options.seed), a(options.weights), a(batch);
    if (!a.reading()) return;
    for (const auto& group : structure->factors) factors += group.factors();
    require_iterations(options.iterations, options.damping);
    Attributes::require(batch >= 0 && batch < std::int64_t{1} << 32 && options.temperature >= 0 &&
                        options.schedule >= Schedule{} && options.schedule <= Schedule::tree &&
                        (options.weights.empty() || static_cast<std::int64_t>(options.weights.size()) == factors));
    whole = std::make_shared<Passing>(std::move(structure), options, options.weights, batch);
  });
}

namespace {

/// Inputs: potentials.
template <class T>
class StartMessages final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = detail::Shapes;
  explicit StartMessages(std::shared_ptr<Passing> passing) : passing_(std::move(passing)) {}
  StartMessages() = default;
  void attributes(Attributes& a) override { exchange(a, passing_); }
  bool suits(const Shapes& in) override { return are_potentials(*passing_->structure, in, 0, passing_->batch); }
  std::string_view name() const override { return "start_messages"; }
  Shape shape(const Shapes&, int) const override { return passing_->message_shape(); }

  void forward(Forward<T>& c) override {
    auto& engine = passing_->engine;
    const auto potentials = potentials_of(engine.graph(), c, 0);
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      engine.load(potentials.data, potentials.layouts, b);
      const auto messages = engine.start();
      std::copy(messages.begin(), messages.end(), c.output().data + b * engine.size());
    }
  }

  void vjp(Vjp<T>& c) override {
    vjp_through<T>(c, [this](const std::vector<Var<T>>& potentials) {
      return std::vector<Var<T>>{ComposedMessages<T>(*passing_, potentials).start()};
    });
  }

  void backward(Backward<T>& c) override {
    auto& engine = passing_->engine;
    const auto potentials = potentials_of(engine.graph(), c, 0);
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      engine.load(potentials.data, potentials.layouts, b);
      const auto given = widen(c.gradient().data + b * engine.size(), engine.size());
      std::vector<double> g_potentials(static_cast<std::size_t>(engine.potential_entries()), 0.0);
      engine.start_backward(given.data(), g_potentials.data());
      add_potential_gradients(engine, c, 0, potentials, b, g_potentials);
    }
  }

 private:
  std::shared_ptr<Passing> passing_;
};

/// One flooding iteration. Inputs: messages [batch, all], potentials.
template <class T>
class MessageStep final : public Operation<T>, public SavedOperation {
 public:
  explicit MessageStep(std::shared_ptr<Passing> passing) : passing_(std::move(passing)) {}
  MessageStep() = default;
  void attributes(Attributes& a) override { exchange(a, passing_); }
  bool suits(const Shapes& in) override {
    return in[0] == passing_->message_shape() && are_potentials(*passing_->structure, in, 1, passing_->batch);
  }
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

  void vjp(Vjp<T>& c) override {
    vjp_through<T>(c, [this](const std::vector<Var<T>>& inputs) {
      return std::vector<Var<T>>{ComposedMessages<T>(*passing_, {inputs.begin() + 1, inputs.end()}).step(inputs[0])};
    });
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

/// Inputs: messages, potentials. Outputs: log-partition, probabilities of each variable group and each factor group.
template <class T>
class ReadMessages final : public Operation<T>, public SavedOperation {
 public:
  explicit ReadMessages(std::shared_ptr<Passing> passing) : passing_(std::move(passing)) {}
  ReadMessages() = default;
  void attributes(Attributes& a) override { exchange(a, passing_); }
  bool suits(const Shapes& in) override {
    return in[0] == passing_->message_shape() && are_potentials(*passing_->structure, in, 1, passing_->batch);
  }
  std::string_view name() const override { return "read_messages"; }
  int outputs() const override { return layout().outputs(); }
  Shape shape(const Shapes&, int output) const override { return layout().shape(output); }

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
        const auto& source = layout().variables(output) ? beliefs.variables : beliefs.factors;
        std::copy(source.begin() + from, source.begin() + from + n, c.output(output).data + b * n);
      }
    }
  }

  void vjp(Vjp<T>& c) override {
    vjp_through<T>(c, [this](const std::vector<Var<T>>& inputs) {
      return ComposedMessages<T>(*passing_, {inputs.begin() + 1, inputs.end()}).read(inputs[0]);
    });
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
        (layout().variables(output) ? any_variable : any_factor) = true;
        auto& to = layout().variables(output) ? g_variables : g_factors;
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
  BeliefLayout layout() const { return {passing_->engine.graph(), passing_->batch}; }
  /// Place and number of an output's elements among those of its kind.
  std::pair<std::int64_t, std::int64_t> range(int output) const {
    if (layout().variables(output)) {
      const auto& group = layout().variable_group(output);
      return {group.first_state, group.size() * group.cardinality};
    }
    const std::size_t g = layout().factor_group(output);
    return {passing_->engine.gradient_offset(g),
            passing_->engine.gradient_offset(g + 1) - passing_->engine.gradient_offset(g)};
  }

  std::shared_ptr<Passing> passing_;
};

}  // namespace

void register_messages() {
  register_operations<StartMessages>("start_messages");
  register_operations<MessageStep>("message_step");
  register_message_iterations();
  register_operations<ReadMessages>("read_messages");
}

template <class T>
std::unique_ptr<Operation<T>> start_messages(std::shared_ptr<Passing> passing) {
  return std::make_unique<StartMessages<T>>(std::move(passing));
}
template <class T>
std::unique_ptr<Operation<T>> message_step(std::shared_ptr<Passing> passing) {
  return std::make_unique<MessageStep<T>>(std::move(passing));
}
template <class T>
std::unique_ptr<Operation<T>> read_messages(std::shared_ptr<Passing> passing) {
  return std::make_unique<ReadMessages<T>>(std::move(passing));
}

#define TAPESTRY_INSTANTIATE(T)                                                    \
  template std::unique_ptr<Operation<T>> start_messages(std::shared_ptr<Passing>); \
  template std::unique_ptr<Operation<T>> message_step(std::shared_ptr<Passing>);   \
  template std::unique_ptr<Operation<T>> read_messages(std::shared_ptr<Passing>);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
