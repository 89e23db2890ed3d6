#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// The negative.
template <class T>
Var<T> negative(const Var<T>& x);
/// x^2.
template <class T>
Var<T> square(const Var<T>& x);
/// The square root; NaN below 0.
template <class T>
Var<T> sqrt(const Var<T>& x);
/// 1 / sqrt(x).
template <class T>
Var<T> rsqrt(const Var<T>& x);
/// 1 / x.
template <class T>
Var<T> reciprocal(const Var<T>& x);
/// e^x.
template <class T>
Var<T> exp(const Var<T>& x);
/// e^x - 1, exact near 0.
template <class T>
Var<T> expm1(const Var<T>& x);
/// Natural logarithm; -inf at 0, NaN below.
template <class T>
Var<T> log(const Var<T>& x);
/// log(1 + x), exact near 0.
template <class T>
Var<T> log1p(const Var<T>& x);
/// log(sigmoid(x)) without overflow.
template <class T>
Var<T> log_sigmoid(const Var<T>& x);
/// 1 / (1 + e^-x).
template <class T>
Var<T> sigmoid(const Var<T>& x);
/// Hyperbolic tangent.
template <class T>
Var<T> tanh(const Var<T>& x);
/// max(x, 0); derivative 0 at 0.
template <class T>
Var<T> relu(const Var<T>& x);
/// log(1 + e^x) without overflow.
template <class T>
Var<T> softplus(const Var<T>& x);
/// Absolute value; derivative 0 at 0.
template <class T>
Var<T> abs(const Var<T>& x);
/// -1, 0 or 1; gradient zero.
template <class T>
Var<T> sign(const Var<T>& x);
/// Largest integer not above x; gradient zero.
template <class T>
Var<T> floor(const Var<T>& x);
/// Nearest integer, ties to even; gradient zero.
template <class T>
Var<T> round(const Var<T>& x);

}  // namespace tapestry
