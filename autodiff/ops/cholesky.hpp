#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// The lower triangular L with L L^T = s for symmetric positive definite matrices s [..., n, n], of which the lower
/// triangle is read. The gradient is that of a symmetric argument, symmetric itself: Murray 2016, "Differentiation of
/// the Cholesky decomposition".
/// @throws ShapeError unless square, NumericalError naming the leading minor that is not positive definite
template <class T>
Var<T> cholesky(const Var<T>& s);

/// log det s of symmetric positive definite matrices [..., n, n], of shape [...]; reads the lower triangle.
/// @throws as cholesky()
template <class T>
Var<T> logdet_spd(const Var<T>& s);

}  // namespace tapestry
