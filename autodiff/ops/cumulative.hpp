#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// y_i = x_0 + ... + x_i along an axis; from its end where `reverse`.
template <class T>
Var<T> cumsum(const Var<T>& x, std::int64_t axis, bool reverse = false);
/// y_i = x_0 ... x_i along an axis; gradients are exact where elements are zero, too.
template <class T>
Var<T> cumprod(const Var<T>& x, std::int64_t axis);
/// y_i = log(e^x_0 + ... + e^x_i) along an axis; leading elements of -inf give -inf, with zero gradient.
template <class T>
Var<T> logcumsumexp(const Var<T>& x, std::int64_t axis);

/// y_0 = b_0, y_i = a_i y_{i-1} + b_i along an axis, or from its end where `reverse`: y_i = a_i y_{i+1} + b_i. The
/// first factor is not used. a and b broadcast. @throws ShapeError
template <class T>
Var<T> linear_recurrence(const Var<T>& a, const Var<T>& b, std::int64_t axis, bool reverse = false);

}  // namespace tapestry
