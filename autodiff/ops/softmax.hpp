#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// e^x / sum(e^x) along an axis. Where all elements are -inf the result is zero; +inf elements share the mass.
/// @throws ShapeError
template <class T>
Var<T> softmax(const Var<T>& x, std::int64_t axis = -1);
/// x - logsumexp(x) along an axis: -inf where all elements are.
/// @throws ShapeError
template <class T>
Var<T> log_softmax(const Var<T>& x, std::int64_t axis = -1);

namespace detail {

/// e^(x - y), broadcast, for x <= y: zero where x is -inf even if y is, one where both are +inf.
template <class T>
Var<T> exp_difference(const Var<T>& x, const Var<T>& y);

}  // namespace detail
}  // namespace tapestry
