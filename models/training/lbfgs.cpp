#include <tapestry/models/training/lbfgs.hpp>

#include <lbfgs.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <memory>
#include <new>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

constexpr const char* operation = "minimize_lbfgs";

struct Run {
  const Objective& objective;
  const LbfgsObserver& observer;
  int before = 0;  ///< iterations of earlier rounds
  LbfgsResult result = {};
  std::exception_ptr error = {};
};

double evaluate(void* instance, const double* x, double* gradient, const int n, const double) {
  Run& run = *static_cast<Run*>(instance);
  const auto size = static_cast<std::size_t>(n);
  // The library is C: an exception waits until it has returned, and an infinite value makes it return soon.
  if (!run.error) {
    try {
      ++run.result.evaluations;
      const double value = run.objective({x, size}, {gradient, size});
      if (std::isnan(value) || (run.result.evaluations == 1 && !std::isfinite(value)))
        fail<NumericalError>(operation, "the objective is ", value, " at evaluation ", run.result.evaluations);
      return value;
    } catch (...) {
      run.error = std::current_exception();
    }
  }
  std::fill(gradient, gradient + size, 0.);
  return std::numeric_limits<double>::infinity();
}

int progress(void* instance, const double* x, const double* gradient, const double value, const double x_norm,
             const double gradient_norm, const double step, int n, int iteration, int evaluations) {
  Run& run = *static_cast<Run*>(instance);
  if (run.error) return LBFGSERR_CANCELED;
  run.result.iterations = run.before + iteration;
  if (!run.observer) return 0;
  const auto size = static_cast<std::size_t>(n);
  try {
    const bool go_on = run.observer(
        {run.before + iteration, value, x_norm, gradient_norm, step, evaluations, {x, size}, {gradient, size}});
    return go_on ? 0 : LBFGSERR_CANCELED;
  } catch (...) {
    run.error = std::current_exception();
    return LBFGSERR_CANCELED;
  }
}

int search_code(const LbfgsOptions& options) {
  if (options.l1 > 0) return LBFGS_LINESEARCH_BACKTRACKING;
  switch (options.line_search) {
    case LineSearch::armijo:
      return LBFGS_LINESEARCH_BACKTRACKING_ARMIJO;
    case LineSearch::wolfe:
      return LBFGS_LINESEARCH_BACKTRACKING_WOLFE;
    case LineSearch::strong_wolfe:
      return LBFGS_LINESEARCH_BACKTRACKING_STRONG_WOLFE;
    case LineSearch::more_thuente:
      break;
  }
  return LBFGS_LINESEARCH_MORETHUENTE;
}

lbfgs_parameter_t parameters_of(const LbfgsOptions& options, std::int64_t l1_end) {
  lbfgs_parameter_t parameters;
  lbfgs_parameter_init(&parameters);
  parameters.m = options.memory;
  parameters.epsilon = options.gradient_tolerance;
  parameters.past = options.period;
  parameters.delta = options.decrease_tolerance;
  parameters.max_linesearch = options.max_evaluations;
  parameters.linesearch = search_code(options);
  if (options.l1 > 0 && options.l1_begin < l1_end) {
    parameters.orthantwise_c = options.l1;
    parameters.orthantwise_start = static_cast<int>(options.l1_begin);
    parameters.orthantwise_end = static_cast<int>(l1_end);
  }
  return parameters;
}

LbfgsStop stop_of(int code) {
  switch (code) {
    case LBFGS_SUCCESS:
    case LBFGS_ALREADY_MINIMIZED:
      return LbfgsStop::converged;
    case LBFGS_STOP:
      return LbfgsStop::small_decrease;
    case LBFGSERR_MAXIMUMITERATION:
      return LbfgsStop::max_iterations;
    case LBFGSERR_CANCELED:
      return LbfgsStop::stopped;
    case LBFGSERR_OUTOFINTERVAL:
    case LBFGSERR_INCORRECT_TMINMAX:
    case LBFGSERR_ROUNDING_ERROR:
    case LBFGSERR_MINIMUMSTEP:
    case LBFGSERR_MAXIMUMSTEP:
    case LBFGSERR_MAXIMUMLINESEARCH:
    case LBFGSERR_WIDTHTOOSMALL:
    case LBFGSERR_INCREASEGRADIENT:
    case LBFGSERR_INVALIDPARAMETERS:
      return LbfgsStop::line_search_failed;
    case LBFGSERR_OUTOFMEMORY:
      throw std::bad_alloc();
    default:
      fail(operation, "liblbfgs returned ", code);
  }
}

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
  if (n > std::numeric_limits<int>::max() - 16) fail(operation, n, " variables are too many");
  if (options.memory < 1 || options.max_iterations < 0 || options.period < 0 || options.max_evaluations < 1 ||
      options.restart < 0)
    fail(operation, "memory and max_evaluations must be positive, max_iterations, period and restart not negative");
  if (!(options.gradient_tolerance >= 0) || !(options.decrease_tolerance >= 0) || !(options.l1 >= 0))
    fail(operation, "tolerances and l1 must not be negative");
  if (options.l1 > 0 && (options.l1_begin < 0 || options.l1_begin > l1_end || l1_end > n))
    fail(operation, "the L1 range [", options.l1_begin, ", ", l1_end, ") is not within ", n, " variables");
  const bool begun = state != nullptr && state->iteration > 0;
  if (begun && state->x.size() != x.size())
    fail<ShapeError>(operation, "the state has ", state->x.size(), " variables, not ", n);

  Run run{objective, observer};
  if (n == 0) {
    run.result.value = objective(x, {});
    run.result.evaluations = 1;
    return run.result;
  }
  lbfgs_parameter_t parameters = parameters_of(options, l1_end);
  const std::unique_ptr<double, void (*)(double*)> buffer(lbfgs_malloc(static_cast<int>(n)), lbfgs_free);
  if (!buffer) throw std::bad_alloc();
  std::copy_n(begun ? state->x.data() : x.data(), n, buffer.get());
  if (begun) {
    run.before = run.result.iterations = static_cast<int>(state->iteration);
    run.result.evaluations = static_cast<int>(state->evaluations);
    run.result.value = state->value;
    run.result.stop = LbfgsStop::max_iterations;
  }
  while (options.max_iterations == 0 || run.before < options.max_iterations) {
    const int rest = options.max_iterations == 0 ? 0 : options.max_iterations - run.before;
    const bool whole = options.restart > 0 && (rest == 0 || options.restart <= rest);
    parameters.max_iterations = whole ? options.restart : rest;
    run.result.stop =
        stop_of(lbfgs(static_cast<int>(n), buffer.get(), &run.result.value, evaluate, progress, &run, &parameters));
    if (run.error) std::rethrow_exception(run.error);
    if (!whole || run.result.stop != LbfgsStop::max_iterations) break;
    run.before = run.result.iterations;
    if (state)
      *state = {run.before, run.result.evaluations, run.result.value,
                std::vector<double>(buffer.get(), buffer.get() + n)};
  }
  std::copy_n(buffer.get(), n, x.data());
  return run.result;
}

}  // namespace tapestry
