#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tapestry/graph/state.hpp>

namespace tapestry {

/// How z = f(z) is solved.
enum class FixedPointMethod {
  plain,     ///< z <- f(z)
  damped,    ///< z <- damping z + (1 - damping) f(z)
  anderson,  ///< Anderson acceleration over the last differences (Walker and Ni 2011)
};

/// How the adjoint equation u = g + J^T u is solved, J being the Jacobian of f at the fixed point.
enum class AdjointMethod {
  neumann,   ///< u <- g + J^T u; converges where J's spectral radius is below one
  gmres,     ///< GMRES (Saad and Schultz 1986)
  anderson,  ///< the same iteration as neumann, accelerated
};

struct FixedPointOptions {
  FixedPointMethod method = FixedPointMethod::plain;
  /// The largest |f(z) - z| of an element, divided by the largest |f(z)| where that is above one. 0: 1e-5 for float,
  /// 1e-10 for double.
  double tolerance = 0;
  std::int64_t max_iterations = 100;
  double damping = 0.5;
  /// Differences that Anderson acceleration keeps.
  int memory = 5;

  AdjointMethod adjoint = AdjointMethod::gmres;
  /// Of the adjoint equation, relative to g. 0: `tolerance`.
  double adjoint_tolerance = 0;
  std::int64_t adjoint_max_iterations = 100;

  /// Throw a NumericalError where the state or the adjoint does not converge.
  bool require_convergence = false;
};

/// How an iteration went.
struct FixedPointReport {
  bool converged = false;
  std::int64_t iterations = 0;
  /// After each iteration.
  std::vector<double> residuals;
  double tolerance = 0;
  /// In words: what was reached, and where it did not converge what the gradient then means.
  std::string message;
};

template <class State>
struct FixedPoint {
  State state;
  FixedPointReport report;
  /// Of the last backward pass through the state; zero iterations before the first.
  std::shared_ptr<const FixedPointReport> adjoint;
};

namespace detail {

using StateMap = std::function<Nodes(const Nodes&)>;

struct FixedPointNodes {
  Nodes state;
  FixedPointReport report;
  std::shared_ptr<FixedPointReport> adjoint;
};
FixedPointNodes solve_fixed_point(const StateMap& f, Nodes start, const FixedPointOptions& options);

}  // namespace detail

/// Solves state = step(state), starting from `state`, and differentiates the solution by the implicit function theorem:
/// neither memory nor time of backward grows with the number of iterations, and any order of derivative works.
/// Gradients go to all variables that `step` captured; the start gets none. What `step` refers to must live until
/// backward. Where the iteration did not converge the report says so, and the gradient is that of the equation
/// linearised at the last state: unroll() gives the gradient of what was computed.
/// @throws NumericalError if require_convergence and it did not; GraphError, ShapeError where step changes the state's
///   structure
template <class F, class State>
FixedPoint<State> fixed_point(F step, const State& state, const FixedPointOptions& options = {}) {
  const detail::StateMap f = [step, state](const detail::Nodes& at) mutable {
    const State next = step(detail::with_nodes(state, at.data(), at.size()));
    return detail::nodes_of(next);
  };
  detail::FixedPointNodes found = detail::solve_fixed_point(f, detail::nodes_of(state), options);
  return {detail::with_nodes(state, found.state.data(), found.state.size()), std::move(found.report),
          std::move(found.adjoint)};
}

}  // namespace tapestry
