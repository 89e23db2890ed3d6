#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Exponentials of square matrices [..., n, n], by scaling and squaring of Pade approximants: Higham 2005, "The scaling
/// and squaring method for the matrix exponential revisited". The gradient is the Frechet derivative at the transposed
/// argument, a block of the exponential of a matrix of twice the size: Al-Mohy and Higham 2009, "Computing the Frechet
/// derivative of the matrix exponential".
/// @throws ShapeError unless square, NumericalError for elements that are not finite
template <class T>
Var<T> matrix_exp(const Var<T>& a);

}  // namespace tapestry
