#include <algorithm>
#include <cmath>
#include <numeric>

#include <tapestry/autodiff/composed_vjp.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/prob/inference/composed_messages.hpp>
#include <tapestry/prob/inference/kept_iterations.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/saved_structure.hpp>

// Messages iterated by any schedule, in one operation.
namespace tapestry::detail {
namespace {

using Order = std::shared_ptr<const std::vector<std::int32_t>>;

/// The iterations of one batch element, with what a gradient through them needs: which factors were renewed in turn,
/// and either the messages that each replaced, or (checkpointed) all messages before some of the sweeps.
struct ScheduledRun {
  bool converged = false;
  std::int64_t iterations = 0;
  std::vector<Order> orders;                  // of the sweeps that a gradient passes through
  std::vector<std::vector<double>> replaced;  // of each
  std::vector<std::vector<double>> starts;    // of each stride-th sweep
};

/// Whether a gradient passes through iterations.
bool through(GradientMode mode) {
  return mode == GradientMode::unrolled || mode == GradientMode::truncated || mode == GradientMode::checkpointed;
}

/// Inputs: potentials.
template <class T>
class MessageIterations final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = detail::Shapes;
  MessageIterations(std::shared_ptr<Passing> passing, bool keep) : passing_(std::move(passing)), keep_(keep) {}
  MessageIterations() = default;
  void attributes(Attributes& a) override {
    exchange(a, passing_);
    a(keep_);
  }
  bool suits(const Shapes& in) override { return are_potentials(*passing_->structure, in, 0, passing_->batch); }
  std::string_view name() const override { return "message_iterations"; }
  Shape shape(const Shapes&, int) const override { return passing_->message_shape(); }

  void forward(Forward<T>& c) override {
    auto& engine = passing_->engine;
    const auto potentials = potentials_of(engine.graph(), c, 0);
    bool converged = true;
    runs_.clear();
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      engine.load(potentials.data, potentials.layouts, b);
      runs_.emplace_back();
      const auto messages = iterate(runs_.back(), b == 0);
      converged = converged && runs_.back().converged;
      std::copy(messages.begin(), messages.end(), c.output().data + b * engine.size());
    }
    passing_->converged = converged;
  }

  void vjp(Vjp<T>& c) override {
    if (through(mode()))
      fail<GraphError>(
          "belief_propagation",
          "second derivatives through iterations are for the flooding schedule (Schedule::flooding); at the "
          "fixed point (GradientMode::implicit) any schedule has them");
    const Var<T> messages = c.output().detach();
    vjp_through<T>(c, [&](const std::vector<Var<T>>& potentials) {
      return std::vector<Var<T>>{ComposedMessages<T>(*passing_, potentials).fixed_point(messages)};
    });
  }

  void backward(Backward<T>& c) override {
    auto& engine = passing_->engine;
    const auto potentials = potentials_of(engine.graph(), c, 0);
    *passing_->adjoint = solved_adjoint();
    if (!keep_) fail<GraphError>(name(), "was made without gradients");
    for (std::int64_t b = 0; b < passing_->batches(); ++b) {
      engine.load(potentials.data, potentials.layouts, b);
      auto messages = widen(c.output().data + b * engine.size(), engine.size());
      auto given = widen(c.gradient().data + b * engine.size(), engine.size());
      std::vector<double> g_potentials(static_cast<std::size_t>(engine.potential_entries()), 0.0);
      const ScheduledRun& run = runs_[static_cast<std::size_t>(b)];
      if (through(mode()))
        pass_back(run, messages, given, g_potentials);
      else
        solve(run, messages, given, g_potentials);
      add_potential_gradients(engine, c, 0, potentials, b, g_potentials);
    }
  }

 private:
  GradientMode mode() const { return passing_->options.gradient; }
  std::int64_t stride() const { return IterationPlan::of<T>(passing_->options, keep_).stride(); }

  std::vector<double> iterate(ScheduledRun& run, bool first) {
    auto& engine = passing_->engine;
    const auto& options = passing_->options;
    std::vector<double> messages = engine.start(), fresh(messages.size()), residuals;
    std::vector<std::int32_t> all(static_cast<std::size_t>(engine.factors()));
    std::iota(all.begin(), all.end(), 0);
    if (options.schedule == Schedule::tree) all = engine.tree_order();
    Order order = std::make_shared<const std::vector<std::int32_t>>(all);
    Generator random(options.seed);
    const bool kept = keep_ && through(mode()), checkpointed = mode() == GradientMode::checkpointed;
    for (; run.iterations < options.iterations && !run.converged; ++run.iterations) {
      std::vector<double> replaced;
      std::vector<double>* const log = kept && !checkpointed ? &replaced : nullptr;
      if (kept && checkpointed && run.iterations % stride() == 0) run.starts.push_back(messages);
      double residual = 0;
      if (options.schedule == Schedule::flooding) {
        residual = engine.flood(messages.data(), options.damping, fresh.data());
        messages.swap(fresh);
      } else if (options.schedule == Schedule::residual) {
        std::vector<std::int32_t> chosen;
        residual = engine.residual_sweep(residuals, options.damping, messages.data(), &chosen, log);
        order = std::make_shared<const std::vector<std::int32_t>>(std::move(chosen));
      } else {
        if (options.schedule == Schedule::random) {
          for (std::size_t k = all.size(); k > 1; --k)
            std::swap(all[k - 1], all[static_cast<std::size_t>(random.integer(static_cast<std::int64_t>(k)))]);
          order = std::make_shared<const std::vector<std::int32_t>>(all);
        }
        residual = engine.sweep(*order, options.damping, messages.data(), log);
      }
      if (kept) {
        run.orders.push_back(order);
        run.replaced.push_back(std::move(replaced));
        if (mode() == GradientMode::truncated && static_cast<std::int64_t>(run.orders.size()) > options.truncation) {
          run.orders.erase(run.orders.begin());
          run.replaced.erase(run.replaced.begin());
        }
      }
      if (first) {
        passing_->trace.residual.push_back(residual);
        ++passing_->trace.iterations;
      }
      passing_->trace.updates += static_cast<std::int64_t>(order->size());
      run.converged = residual <= options.tolerance;
    }
    return messages;
  }

  /// Through the iterations: `messages` become the first ones of those that are passed through.
  void pass_back(const ScheduledRun& run, std::vector<double>& messages, std::vector<double>& gradient,
                 std::vector<double>& g_potentials) {
    auto& engine = passing_->engine;
    const double damping = passing_->options.damping;
    const auto back = [&](std::size_t sweep, const std::vector<double>& replaced) {
      engine.sweep_backward(*run.orders[sweep], replaced, damping, messages.data(), gradient.data(),
                            g_potentials.data());
    };
    if (mode() == GradientMode::checkpointed) {
      const auto every = static_cast<std::size_t>(stride());
      for (std::size_t segment = run.starts.size(); segment-- > 0;) {
        const std::size_t begin = segment * every, end = std::min(begin + every, run.orders.size());
        std::vector<std::vector<double>> replaced(end - begin);
        auto at = run.starts[segment];
        for (std::size_t n = begin; n < end; ++n)
          engine.sweep(*run.orders[n], damping, at.data(), &replaced[n - begin]);
        for (std::size_t n = end; n-- > begin;) back(n, replaced[n - begin]);
      }
    } else {
      for (std::size_t n = run.orders.size(); n-- > 0;) back(n, run.replaced[n]);
    }
    // What came before the last iterations is constant.
    if (static_cast<std::int64_t>(run.orders.size()) == run.iterations)
      engine.start_backward(gradient.data(), g_potentials.data());
  }

  /// At the fixed point: the equation u = g + J^T u is iterated with damping, which does not move the fixed point.
  void solve(const ScheduledRun& run, const std::vector<double>& messages, const std::vector<double>& given,
             std::vector<double>& g_potentials) {
    auto& engine = passing_->engine;
    const auto n = static_cast<std::size_t>(engine.size());
    const double damping = std::max(passing_->options.damping, 0.5);
    std::vector<double> u(n, 0.0), next;
    const int most = implicit_steps(run.converged, 2 * run.iterations);
    double left = 0, first = 0;
    int step = 0;
    bool solved = false;
    while (step < most && !solved) {
      ++step;
      next = given;
      std::fill(g_potentials.begin(), g_potentials.end(), 0.0);
      engine.flood_backward(messages.data(), damping, u.data(), next.data(), g_potentials.data());
      double change = 0, largest = 0;
      for (std::size_t i = 0; i < n; ++i) {
        change = std::max(change, std::abs(next[i] - u[i]));
        largest = std::max(largest, std::abs(next[i]));
      }
      if (step == 1) first = change;
      if (!run.converged && change > first) break;
      u.swap(next);
      left = largest > 0 ? change / largest : 0;
      solved = left <= implicit_tolerance;
    }
    report_adjoint(*passing_->adjoint, run.converged, solved, step, left, implicit_tolerance);
    std::fill(g_potentials.begin(), g_potentials.end(), 0.0);
    next.assign(n, 0.0);
    engine.flood_backward(messages.data(), damping, u.data(), next.data(), g_potentials.data());
  }

  std::shared_ptr<Passing> passing_;
  bool keep_ = true;
  std::vector<ScheduledRun> runs_;
};

}  // namespace

void register_message_iterations() {
  register_operations<MessageIterations>("message_iterations");
}

template <class T>
std::unique_ptr<Operation<T>> message_iterations(std::shared_ptr<Passing> passing, bool keep) {
  return std::make_unique<MessageIterations<T>>(std::move(passing), keep);
}

template std::unique_ptr<Operation<float>> message_iterations(std::shared_ptr<Passing>, bool);
template std::unique_ptr<Operation<double>> message_iterations(std::shared_ptr<Passing>, bool);

}  // namespace tapestry::detail
