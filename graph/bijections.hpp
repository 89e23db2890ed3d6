#pragma once

#include <tapestry/graph/bijection.hpp>

/// Bijections onto the sets that parameters of models live in. The maps of simplexes, ordered vectors and matrices are
/// those of the Stan reference manual, chapter "Constraint transforms" (Stan Development Team 2024).
namespace tapestry::bijections {

/// Smooth maps onto the positive numbers.
enum class Positive { exp, softplus };
/// y > 0, elementwise: e^x or log(1 + e^x).
Bijection positive(Positive map = Positive::exp);
/// y > low: low + e^x. @throws NumericalError unless low is finite
Bijection greater_than(double low);
/// y < high: high - e^x. @throws NumericalError unless high is finite
Bijection less_than(double high);
/// low < y < high: low + (high - low) sigmoid(x). @throws NumericalError unless both are finite and low < high
Bijection interval(double low, double high);

/// Maps onto vectors of positive numbers with sum 1, from one number less: stick-breaking, in which the share that a
/// component takes of what is left is sigmoid(x_k - log(number of those after it)); or the softmax of x and a 0 (the
/// additive log-ratio of Aitchison 1982). In both, zeros give equal components.
enum class Simplex { stick_breaking, softmax };
/// [..., n - 1] -> [..., n]
Bijection simplex(Simplex map = Simplex::stick_breaking);
/// Matrices whose rows are simplexes: [..., m, n - 1] -> [..., m, n], an event a matrix.
Bijection stochastic_matrix(Simplex map = Simplex::stick_breaking);

/// y_1 < y_2 < ...: y_1 = x_1, and each one is e^x_k more than the one before. [..., n] -> [..., n]
Bijection ordered();
/// 0 < y_1 < y_2 < ...
Bijection positive_ordered();

/// Lower triangular matrices with positive diagonal: the triangle row by row, with logarithms on the diagonal.
/// [..., n (n + 1) / 2] -> [..., n, n]
Bijection cholesky_factor();
/// Symmetric positive definite matrices, as L L^T of the above (Pinheiro and Bates 1996). [..., n (n + 1) / 2] ->
/// [..., n, n]; the Jacobian's coordinates are the lower triangle's.
Bijection covariance();
/// Cholesky factors of correlation matrices: rows of norm 1, from canonical partial correlations tanh(x) (Lewandowski,
/// Kurowicka and Joe 2009). [..., n (n - 1) / 2] -> [..., n, n]; the coordinates are those below the diagonal.
Bijection cholesky_correlation();
/// Correlation matrices, as L L^T of the above.
Bijection correlation();

}  // namespace tapestry::bijections
