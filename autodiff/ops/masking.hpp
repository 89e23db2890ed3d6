#pragma once

#include <type_traits>
#include <utility>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// 1 where the comparison holds and 0 elsewhere, broadcast: a constant without gradient. NaN only differs.
/// @{
template <class T>
Var<T> less(const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> less_equal(const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> greater(const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> greater_equal(const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> equal(const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> not_equal(const Var<T>& a, const Var<T>& b);
/// @}

/// a where the condition is not zero, b elsewhere, broadcast. The side that is not taken gets a gradient of exactly
/// zero, whatever its value. @throws ShapeError
template <class T>
Var<T> where(const Var<T>& condition, const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> where(const Indices& condition, const Var<T>& a, const Var<T>& b);
// Found before xtensor's, which takes any arguments where one of them is an array.
template <class C, class A, class B>
requires(std::is_same_v<std::remove_cvref_t<C>, IndexTensor>&&
             std::is_same_v<std::remove_cvref_t<A>, Var<typename std::remove_cvref_t<A>::value_type>>&&
                 std::is_same_v<std::remove_cvref_t<A>, std::remove_cvref_t<B>>) auto where(C&& condition, A&& a,
                                                                                            B&& b) {
  return where(Indices(std::forward<C>(condition)), a, b);
}

/// x with a value where the mask is not zero; the mask broadcasts to x. @throws ShapeError
template <class T>
Var<T> masked_fill(const Var<T>& x, const Var<T>& mask, std::type_identity_t<T> value);
template <class T>
Var<T> masked_fill(const Var<T>& x, const Indices& mask, std::type_identity_t<T> value);

/// The last two axes on and above (below) the diagonal `offset`, zeros elsewhere. @throws ShapeError
/// @{
template <class T>
Var<T> triu(const Var<T>& x, std::int64_t offset = 0);
template <class T>
Var<T> tril(const Var<T>& x, std::int64_t offset = 0);
/// @}

namespace detail {

/// Indices as numbers: a constant.
template <class T>
Var<T> numbers(const Indices& indices);

}  // namespace detail
}  // namespace tapestry
