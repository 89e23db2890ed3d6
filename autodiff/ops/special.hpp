#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Scaled exponential linear unit (Klambauer et al. 2017).
template <class T>
Var<T> selu(const Var<T>& x);
/// x times the normal distribution function of x (Hendrycks and Gimpel 2016), exact.
template <class T>
Var<T> gelu(const Var<T>& x);
/// Sine.
template <class T>
Var<T> sin(const Var<T>& x);
/// Cosine.
template <class T>
Var<T> cos(const Var<T>& x);
/// Tangent.
template <class T>
Var<T> tan(const Var<T>& x);
/// Arc sine; NaN outside [-1, 1].
template <class T>
Var<T> asin(const Var<T>& x);
/// Arc cosine; NaN outside [-1, 1].
template <class T>
Var<T> acos(const Var<T>& x);
/// Arc tangent.
template <class T>
Var<T> atan(const Var<T>& x);
/// Hyperbolic sine.
template <class T>
Var<T> sinh(const Var<T>& x);
/// Hyperbolic cosine.
template <class T>
Var<T> cosh(const Var<T>& x);
/// Error function.
template <class T>
Var<T> erf(const Var<T>& x);
/// 1 - erf(x), exact for large x.
template <class T>
Var<T> erfc(const Var<T>& x);
/// log |Gamma(x)|; infinite at 0, -1, -2, ...
template <class T>
Var<T> lgamma(const Var<T>& x);
/// Derivative of lgamma.
template <class T>
Var<T> digamma(const Var<T>& x);
/// Derivative of digamma.
template <class T>
Var<T> trigamma(const Var<T>& x);
/// log(x / (1 - x)), the inverse of sigmoid.
template <class T>
Var<T> logit(const Var<T>& x);

/// x where it is positive, else slope * x; derivative `slope` at 0.
template <class T>
Var<T> leaky_relu(const Var<T>& x, std::type_identity_t<T> slope = T(0.01));
/// x where it is positive, else alpha (e^x - 1) (Clevert et al. 2015).
template <class T>
Var<T> elu(const Var<T>& x, std::type_identity_t<T> alpha = T(1));
/// x limited to [low, high]; derivative 1 inside, ends included, 0 outside.
/// @throws Error unless low <= high
template <class T>
Var<T> clamp(const Var<T>& x, std::type_identity_t<T> low, std::type_identity_t<T> high);
/// x^p for a number p.
template <class T>
Var<T> pow(const Var<T>& x, std::type_identity_t<T> p);
/// The order-th derivative of digamma, order 0 to 60.
/// @throws Error for another order
template <class T>
Var<T> polygamma(int order, const Var<T>& x);

/// a^b, broadcasting; the gradient to b is 0 where a is 0 and b positive.
template <class T>
Var<T> pow(const Var<T>& a, const Var<T>& b);
/// a log(b), 0 where a is 0.
template <class T>
Var<T> xlogy(const Var<T>& a, const Var<T>& b);
/// The angle of the point (b, a), in (-pi, pi].
template <class T>
Var<T> atan2(const Var<T>& a, const Var<T>& b);
/// log(e^a + e^b) without overflow; -inf where both are.
template <class T>
Var<T> logaddexp(const Var<T>& a, const Var<T>& b);

}  // namespace tapestry
