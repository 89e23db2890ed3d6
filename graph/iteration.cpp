#include <tapestry/graph/iteration.hpp>

#include <algorithm>
#include <cmath>
#include <deque>

namespace tapestry::detail {
namespace {

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void add_scaled(double factor, const Vector& x, Vector& out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] += factor * x[i];
}

double largest(const Vector& x) {
  double out = 0;
  for (const double value : x)
    if (!(std::abs(value) <= out)) out = std::abs(value);
  return out;
}

// The factors c that minimise |b - sum_j c_j columns_j|, by modified Gram-Schmidt; columns that depend on earlier ones
// get 0.
Vector least_squares(const std::deque<Vector>& columns, Vector b) {
  const std::size_t m = columns.size();
  std::vector<Vector> basis(m), r(m, Vector(m, 0.0));
  Vector projections(m, 0.0), factors(m, 0.0);
  for (std::size_t j = 0; j < m; ++j) {
    Vector q = columns[j];
    const double before = std::sqrt(dot(q, q));
    for (std::size_t i = 0; i < j; ++i) {
      if (r[i][i] == 0) continue;
      r[i][j] = dot(basis[i], q);
      add_scaled(-r[i][j], basis[i], q);
    }
    const double length = std::sqrt(dot(q, q));
    if (!(length > 1e-10 * before)) continue;
    r[j][j] = length;
    for (double& value : q) value /= length;
    projections[j] = dot(q, b);
    add_scaled(-projections[j], q, b);
    basis[j] = std::move(q);
  }
  for (std::size_t j = m; j-- > 0;) {
    if (r[j][j] == 0) continue;
    double value = projections[j];
    for (std::size_t k = j + 1; k < m; ++k) value -= r[j][k] * factors[k];
    factors[j] = value / r[j][j];
  }
  return factors;
}

}  // namespace

Iterations iterate(const VectorMap& f, Vector& x, const IterationOptions& options) {
  Iterations out;
  Vector fx(x.size()), residual(x.size()), last_fx, last_residual;
  std::deque<Vector> value_steps, residual_steps;
  for (std::int64_t k = 0; k < options.max_iterations; ++k) {
    f(x, fx);
    for (std::size_t i = 0; i < x.size(); ++i) residual[i] = x[i] == fx[i] ? 0 : fx[i] - x[i];
    const double relative = largest(residual) / std::max(options.scale, largest(fx));
    out.residuals.push_back(relative);
    out.converged = relative <= options.tolerance;
    const bool last = out.converged || !std::isfinite(relative) || k + 1 == options.max_iterations;
    if (last) {
      x = fx;
      break;
    }
    if (options.memory == 0) {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = fx[i] - options.damping * residual[i];
      continue;
    }
    if (k > 0) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        last_fx[i] = fx[i] - last_fx[i];
        last_residual[i] = residual[i] - last_residual[i];
      }
      value_steps.push_back(std::move(last_fx));
      residual_steps.push_back(std::move(last_residual));
      if (value_steps.size() > static_cast<std::size_t>(options.memory)) {
        value_steps.pop_front();
        residual_steps.pop_front();
      }
    }
    const Vector factors = least_squares(residual_steps, residual);
    x = fx;
    for (std::size_t j = 0; j < factors.size(); ++j) add_scaled(-factors[j], value_steps[j], x);
    last_fx = fx;
    last_residual = residual;
  }
  return out;
}

Iterations gmres(const VectorMap& linear, const Vector& b, Vector& x, const IterationOptions& options) {
  constexpr std::size_t restart = 20;
  Iterations out;
  x.assign(b.size(), 0.0);
  Vector residual = b, product(b.size());
  double length = std::sqrt(dot(b, b));
  const double goal = options.tolerance * length;
  if (length == 0) {
    out.converged = true;
    return out;
  }
  const double start = length;
  std::int64_t used = 0;
  while (used < options.max_iterations && !out.converged && std::isfinite(length)) {
    std::vector<Vector> basis, h;  // h[j]: column j of the triangle
    Vector cosines, sines, rhs{length};
    basis.push_back(residual);
    for (double& value : basis[0]) value /= length;
    while (basis.size() <= restart && used < options.max_iterations) {
      const std::size_t j = basis.size() - 1;
      linear(basis[j], product);
      Vector next = basis[j], column;
      add_scaled(-1, product, next);
      for (std::size_t i = 0; i <= j; ++i) {
        column.push_back(dot(basis[i], next));
        add_scaled(-column[i], basis[i], next);
      }
      const double below = std::sqrt(dot(next, next));
      for (std::size_t i = 0; i < j; ++i) {
        const double upper = column[i];
        column[i] = cosines[i] * upper + sines[i] * column[i + 1];
        column[i + 1] = cosines[i] * column[i + 1] - sines[i] * upper;
      }
      const double diagonal = std::hypot(column[j], below);
      ++used;
      if (!(diagonal > 0)) break;
      cosines.push_back(column[j] / diagonal);
      sines.push_back(below / diagonal);
      column[j] = diagonal;
      rhs.push_back(-sines[j] * rhs[j]);
      rhs[j] *= cosines[j];
      h.push_back(std::move(column));
      length = std::abs(rhs[j + 1]);
      out.residuals.push_back(length / start);
      if (length <= goal || !(below > 0) || !std::isfinite(below)) break;
      for (double& value : next) value /= below;
      basis.push_back(std::move(next));
    }
    const std::size_t columns = h.size();
    Vector factors(columns, 0.0);
    for (std::size_t j = columns; j-- > 0;) {
      double value = rhs[j];
      for (std::size_t k = j + 1; k < columns; ++k) value -= h[k][j] * factors[k];
      factors[j] = value / h[j][j];
    }
    for (std::size_t j = 0; j < columns; ++j) add_scaled(factors[j], basis[j], x);
    linear(x, product);
    for (std::size_t i = 0; i < b.size(); ++i) residual[i] = b[i] - x[i] + product[i];
    length = std::sqrt(dot(residual, residual));
    // The recurrence's residual drifts from the true one by rounding; ten times the goal is as good as it gets.
    out.converged = length <= 10 * goal;
    if (columns == 0) break;
  }
  return out;
}

}  // namespace tapestry::detail
