#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Elementwise sums, differences, products and quotients; shapes broadcast as in NumPy.
/// @throws ShapeError where they do not
/// @{
template <class T>
Var<T> add(const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> subtract(const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> multiply(const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> divide(const Var<T>& a, const Var<T>& b);
/// @}

/// Elementwise larger and smaller value; at a tie both arguments get half of the gradient.
/// @{
template <class T>
Var<T> maximum(const Var<T>& a, const Var<T>& b);
template <class T>
Var<T> minimum(const Var<T>& a, const Var<T>& b);
/// @}

template <class T>
Var<T> operator+(const Var<T>& a, const Var<T>& b) {
  return add(a, b);
}
template <class T>
Var<T> operator-(const Var<T>& a, const Var<T>& b) {
  return subtract(a, b);
}
template <class T>
Var<T> operator*(const Var<T>& a, const Var<T>& b) {
  return multiply(a, b);
}
template <class T>
Var<T> operator/(const Var<T>& a, const Var<T>& b) {
  return divide(a, b);
}
template <class T>
Var<T> operator-(const Var<T>& a);

// A number on either side is a constant of rank 0.
template <class T>
Var<T> operator+(const Var<T>& a, std::type_identity_t<T> b) {
  return add(a, Var<T>(b));
}
template <class T>
Var<T> operator+(std::type_identity_t<T> a, const Var<T>& b) {
  return add(Var<T>(a), b);
}
template <class T>
Var<T> operator-(const Var<T>& a, std::type_identity_t<T> b) {
  return subtract(a, Var<T>(b));
}
template <class T>
Var<T> operator-(std::type_identity_t<T> a, const Var<T>& b) {
  return subtract(Var<T>(a), b);
}
template <class T>
Var<T> operator*(const Var<T>& a, std::type_identity_t<T> b) {
  return multiply(a, Var<T>(b));
}
template <class T>
Var<T> operator*(std::type_identity_t<T> a, const Var<T>& b) {
  return multiply(Var<T>(a), b);
}
template <class T>
Var<T> operator/(const Var<T>& a, std::type_identity_t<T> b) {
  return divide(a, Var<T>(b));
}
template <class T>
Var<T> operator/(std::type_identity_t<T> a, const Var<T>& b) {
  return divide(Var<T>(a), b);
}
template <class T>
Var<T>& operator+=(Var<T>& a, const Var<T>& b) {
  return a = a + b;
}
template <class T>
Var<T>& operator-=(Var<T>& a, const Var<T>& b) {
  return a = a - b;
}
template <class T>
Var<T>& operator*=(Var<T>& a, const Var<T>& b) {
  return a = a * b;
}

}  // namespace tapestry
