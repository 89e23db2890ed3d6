#pragma once

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/operation.hpp>

namespace tapestry::detail {

/// All that distinguishes one elementwise operation of an argument and two numbers from another.
template <class T>
struct ParametricRule {
  std::string_view name;
  Parametric kernel;
  void (*vjp)(Vjp<T>&, T p, T q);
};

/// Records the operation of a rule (which must have static storage).
template <class T>
Var<T> parametric(const ParametricRule<T>& rule, const Var<T>& x, T p, T q);

}  // namespace tapestry::detail
