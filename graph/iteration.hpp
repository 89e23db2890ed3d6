#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace tapestry::detail {

using Vector = std::vector<double>;
/// Writes f(x).
using VectorMap = std::function<void(const Vector& x, Vector& out)>;

struct IterationOptions {
  std::int64_t max_iterations = 100;
  double tolerance = 0;
  /// What the largest element of the residual is divided by, where no element of f(x) is larger.
  double scale = 1;
  /// The share of the old state that is kept.
  double damping = 0;
  /// Differences that Anderson acceleration keeps; 0 for none.
  int memory = 0;
};

struct Iterations {
  bool converged = false;
  std::vector<double> residuals;
};

/// x = f(x), starting from x; leaves f of the last point in x. Anderson acceleration by least squares over the last
/// differences (Walker and Ni 2011).
Iterations iterate(const VectorMap& f, Vector& x, const IterationOptions& options);

/// Solves x - linear(x) = b, starting from zero, by restarted GMRES (Saad and Schultz 1986).
Iterations gmres(const VectorMap& linear, const Vector& b, Vector& x, const IterationOptions& options);

}  // namespace tapestry::detail
