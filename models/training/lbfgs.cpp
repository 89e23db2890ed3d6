#include <tapestry/models/training/lbfgs.hpp>

#include <algorithm>
#include <cmath>
#include <optional>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/models/training/line_search.hpp>

namespace tapestry {
namespace {

constexpr const char* operation = "minimize_lbfgs";
constexpr std::int64_t grain = 1 << 15;

/// f(i) for all elements.
template <class F>
void each(std::int64_t n, const F& f) {
  detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i);
  });
}

double dot(std::int64_t n, const double* a, const double* b) {
  std::vector<double> parts(static_cast<std::size_t>((n + grain - 1) / grain));
  detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
    parts[static_cast<std::size_t>(chunk)] = detail::dot<double>(end - begin, a + begin, 1, b + begin, 1);
  });
  double sum = 0;
  for (const double part : parts) sum += part;
  return sum;
}

double norm(std::int64_t n, const double* a) {
  return std::sqrt(dot(n, a, a));
}

/// y += factor * x
void add(std::int64_t n, double factor, const double* x, double* y) {
  each(n, [&](std::int64_t i) { y[i] += factor * x[i]; });
}

class Minimisation {
 public:
  Minimisation(std::int64_t n, const Objective& objective, const LbfgsOptions& options, LbfgsState& state)
      : n_(n),
        memory_(options.memory),
        l1_end_(options.l1_end < 0 ? n : options.l1_end),
        objective_(objective),
        options_(options),
        state_(state),
        direction_(size()),
        old_x_(size()),
        old_gradient_(size()) {
    if (options.l1 > 0) slope_.resize(size()), orthant_.resize(size());
  }

  LbfgsResult run(const LbfgsObserver& observer) {
    if (state_.iteration == 0) {
      state_.past.assign(static_cast<std::size_t>(options_.period) + 1, 0.0);
      state_.steps.assign(size() * static_cast<std::size_t>(memory_), 0.0);
      state_.changes = state_.steps;
      state_.products.assign(static_cast<std::size_t>(memory_), 0.0);
      state_.gradient.assign(size(), 0.0);
      state_.value = evaluate();
      if (!std::isfinite(state_.value))
        fail<NumericalError>(operation, "the objective is ", state_.value, " at the start");
      remember_value();
      if (converged()) return result(LbfgsStop::converged);
    } else if (const std::optional<LbfgsStop> stop = finished()) {
      return result(*stop);
    }
    for (;;) {
      const double length = set_direction();
      const std::int64_t before = state_.evaluations;
      const double old_value = state_.value;
      old_x_ = state_.x;
      old_gradient_ = state_.gradient;
      const detail::LineResult line = search(state_.iteration == 0 ? 1 / length : 1);
      if (!line.found) {
        std::swap(state_.x, old_x_);
        std::swap(state_.gradient, old_gradient_);
        state_.value = old_value;
        return result(LbfgsStop::line_search_failed);
      }
      remember_pair();
      ++state_.iteration;
      remember_value();
      const std::optional<LbfgsStop> stop = finished();
      if (observer && !observer({static_cast<int>(state_.iteration),
                                 state_.value,
                                 norm(n_, state_.x.data()),
                                 norm(n_, slope()),
                                 line.step,
                                 static_cast<int>(state_.evaluations - before),
                                 {state_.x},
                                 {slope(), size()}}))
        return result(LbfgsStop::stopped);
      if (stop) return result(*stop);
    }
  }

 private:
  std::size_t size() const { return static_cast<std::size_t>(n_); }

  double evaluate() {
    ++state_.evaluations;
    double value = objective_(state_.x, state_.gradient);
    if (options_.l1 > 0)
      for (std::int64_t i = options_.l1_begin; i < l1_end_; ++i)
        value += options_.l1 * std::abs(state_.x[static_cast<std::size_t>(i)]);
    if (std::isnan(value))
      fail<NumericalError>(operation, "the objective is ", value, " at evaluation ", state_.evaluations);
    return value;
  }

  /// The gradient; with an L1 norm that of the steepest descent (Andrew and Gao 2007).
  const double* slope() {
    if (options_.l1 == 0) return state_.gradient.data();
    const double c = options_.l1;
    each(n_, [&](std::int64_t k) {
      const auto i = static_cast<std::size_t>(k);
      const double g = state_.gradient[i], x = state_.x[i];
      if (k < options_.l1_begin || k >= l1_end_)
        slope_[i] = g;
      else if (x != 0)
        slope_[i] = x < 0 ? g - c : g + c;
      else
        slope_[i] = g < -c ? g + c : g > c ? g - c : 0;
    });
    return slope_.data();
  }

  bool converged() {
    return norm(n_, slope()) <= options_.gradient_tolerance * std::max(1.0, norm(n_, state_.x.data()));
  }
  std::optional<LbfgsStop> finished() {
    if (converged()) return LbfgsStop::converged;
    if (options_.period > 0 && state_.iteration >= options_.period) {
      const double old = past(state_.iteration - options_.period);
      if ((old - state_.value) / state_.value < options_.decrease_tolerance) return LbfgsStop::small_decrease;
    }
    if (options_.max_iterations > 0 && state_.iteration >= options_.max_iterations) return LbfgsStop::max_iterations;
    return std::nullopt;
  }
  double& past(std::int64_t iteration) {
    return state_.past[static_cast<std::size_t>(iteration % (options_.period + 1))];
  }
  void remember_value() { past(state_.iteration) = state_.value; }

  /// The direction of the next step, by the two loops over what is remembered; its length.
  double set_direction() {
    const double* const g = slope();
    double* const d = direction_.data();
    each(n_, [&](std::int64_t i) { d[i] = -g[i]; });
    const std::int64_t pairs = std::min<std::int64_t>(state_.iteration, memory_);
    std::vector<double> weights(static_cast<std::size_t>(memory_));
    const auto step_of = [&](std::int64_t pair) { return state_.steps.data() + pair * n_; };
    const auto change_of = [&](std::int64_t pair) { return state_.changes.data() + pair * n_; };
    for (std::int64_t k = 1; k <= pairs; ++k) {
      const std::int64_t pair = (state_.iteration - k) % memory_;
      double& weight = weights[static_cast<std::size_t>(pair)];
      weight = dot(n_, step_of(pair), d) / state_.products[static_cast<std::size_t>(pair)];
      add(n_, -weight, change_of(pair), d);
    }
    if (pairs > 0) {
      const std::int64_t last = (state_.iteration - 1) % memory_;
      const double scale = state_.products[static_cast<std::size_t>(last)] / dot(n_, change_of(last), change_of(last));
      each(n_, [&](std::int64_t i) { d[i] *= scale; });
    }
    for (std::int64_t k = pairs; k >= 1; --k) {
      const std::int64_t pair = (state_.iteration - k) % memory_;
      const double beta = dot(n_, change_of(pair), d) / state_.products[static_cast<std::size_t>(pair)];
      add(n_, weights[static_cast<std::size_t>(pair)] - beta, step_of(pair), d);
    }
    // Only where it descends.
    if (options_.l1 > 0)
      for (std::int64_t i = options_.l1_begin; i < l1_end_; ++i)
        if (d[i] * g[i] >= 0) d[i] = 0;
    return norm(n_, d);
  }

  void remember_pair() {
    const std::int64_t pair = state_.iteration % memory_;
    double* const s = state_.steps.data() + pair * n_;
    double* const y = state_.changes.data() + pair * n_;
    each(n_, [&](std::int64_t k) {
      const auto i = static_cast<std::size_t>(k);
      s[k] = state_.x[i] - old_x_[i];
      y[k] = state_.gradient[i] - old_gradient_[i];
    });
    state_.products[static_cast<std::size_t>(pair)] = dot(n_, y, s);
  }

  detail::LineResult search(double step) {
    if (options_.l1 > 0) return search_orthant(step);
    const detail::LinePoint start{state_.value, dot(n_, state_.gradient.data(), direction_.data())};
    return detail::search_line(options_.line_search, start, step, options_.max_evaluations, [&](double t) {
      each(n_, [&](std::int64_t k) {
        const auto i = static_cast<std::size_t>(k);
        state_.x[i] = old_x_[i] + t * direction_[i];
      });
      state_.value = evaluate();
      return detail::LinePoint{state_.value, dot(n_, state_.gradient.data(), direction_.data())};
    });
  }

  /// Backtracking within the orthant that the start and the slope choose.
  detail::LineResult search_orthant(double step) {
    const std::vector<double> descent(slope(), slope() + n_);
    const double start = state_.value;
    detail::LineResult line{.step = step};
    each(n_, [&](std::int64_t k) {
      const auto i = static_cast<std::size_t>(k);
      orthant_[i] = old_x_[i] == 0 ? -descent[i] : old_x_[i];
    });
    for (; line.evaluations < options_.max_evaluations; line.step /= 2) {
      double expected = 0;
      for (std::int64_t k = 0; k < n_; ++k) {
        const auto i = static_cast<std::size_t>(k);
        double& x = state_.x[i];
        x = old_x_[i] + line.step * direction_[i];
        if (k >= options_.l1_begin && k < l1_end_ && x * orthant_[i] <= 0) x = 0;
        expected += (x - old_x_[i]) * descent[i];
      }
      state_.value = evaluate();
      ++line.evaluations;
      line.found = state_.value <= start + 1e-4 * expected;
      if (line.found) break;
    }
    return line;
  }

  LbfgsResult result(LbfgsStop stop) const {
    return {state_.value, static_cast<int>(state_.iteration), static_cast<int>(state_.evaluations), stop};
  }

  std::int64_t n_, memory_, l1_end_;
  const Objective& objective_;
  const LbfgsOptions& options_;
  LbfgsState& state_;
  std::vector<double> direction_, old_x_, old_gradient_, slope_, orthant_;
};

}  // namespace

const char* to_string(LbfgsStop stop) {
  switch (stop) {
    case LbfgsStop::converged:
      return "converged";
    case LbfgsStop::small_decrease:
      return "small decrease";
    case LbfgsStop::max_iterations:
      return "iteration limit";
    case LbfgsStop::stopped:
      return "stopped";
    case LbfgsStop::line_search_failed:
      break;
  }
  return "line search failed";
}

LbfgsResult minimize_lbfgs(std::span<double> x, const Objective& objective, const LbfgsOptions& options,
                           const LbfgsObserver& observer, LbfgsState* state) {
  const auto n = static_cast<std::int64_t>(x.size());
  const std::int64_t l1_end = options.l1_end < 0 ? n : options.l1_end;
  if (options.memory < 1 || options.max_iterations < 0 || options.period < 0 || options.max_evaluations < 1)
    fail(operation, "memory and max_evaluations must be positive, max_iterations and period not negative");
  if (!(options.gradient_tolerance >= 0) || !(options.decrease_tolerance >= 0) || !(options.l1 >= 0))
    fail(operation, "tolerances and l1 must not be negative");
  if (options.l1 > 0 && (options.l1_begin < 0 || options.l1_begin > l1_end || l1_end > n))
    fail(operation, "the L1 range [", options.l1_begin, ", ", l1_end, ") is not within ", n, " variables");
  LbfgsState own;
  LbfgsState& at = state ? *state : own;
  const std::size_t pairs = x.size() * static_cast<std::size_t>(options.memory);
  if (at.iteration == 0)
    at.x.assign(x.begin(), x.end());
  else if (at.x.size() != x.size() || at.gradient.size() != x.size() || at.steps.size() != pairs ||
           at.changes.size() != pairs || at.products.size() != static_cast<std::size_t>(options.memory) ||
           at.past.size() != static_cast<std::size_t>(options.period) + 1)
    fail<ShapeError>(operation, "the state is one of ", at.x.size(), " variables, ", at.products.size(),
                     " pairs and a period of ", at.past.size() - 1);
  const LbfgsResult result = Minimisation(n, objective, options, at).run(observer);
  std::copy(at.x.begin(), at.x.end(), x.begin());
  return result;
}

}  // namespace tapestry
