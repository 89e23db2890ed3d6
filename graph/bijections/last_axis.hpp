#pragma once

#include <tapestry/autodiff/ops/joining.hpp>

namespace tapestry::detail {

/// Zeros of x's shape but for the last axis, which has one element.
template <class T>
Var<T> one_zero(const Var<T>& x) {
  Shape one = x.shape();
  one[one.rank() - 1] = 1;
  return Var<T>::zeros(one);
}
/// x with a zero after or before the elements of the last axis.
template <class T>
Var<T> zero_after(const Var<T>& x) {
  return concatenate({x, one_zero(x)}, -1);
}
template <class T>
Var<T> zero_before(const Var<T>& x) {
  return concatenate({one_zero(x), x}, -1);
}

}  // namespace tapestry::detail
