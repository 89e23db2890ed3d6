#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// The sign of a determinant, without gradient, and the logarithm of its absolute value.
template <class T>
struct SignLogDet {
  Var<T> sign, logabsdet;
};

/// Determinants of square matrices [..., n, n], of shape [...]. A singular matrix has sign 0 and logarithm -inf; asking
/// for a gradient there is a NumericalError.
/// @throws ShapeError unless square
template <class T>
SignLogDet<T> slogdet(const Var<T>& a);

/// log det a. @throws ShapeError unless square, NumericalError unless the determinant is positive
template <class T>
Var<T> logdet(const Var<T>& a);

}  // namespace tapestry
