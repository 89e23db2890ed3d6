#pragma once

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/operation.hpp>

namespace tapestry::detail {

/// All that distinguishes one elementwise operation of one argument from another.
template <class T>
struct UnaryRule {
  std::string_view name;
  Unary kernel;
  std::uint32_t needs;
  void (*vjp)(Vjp<T>&);
};

/// The operation of a rule (which must have static storage). It holds no state: one object serves every call.
template <class T>
OperationBase* make_unary(const UnaryRule<T>& rule);

/// Records the operation of a rule.
template <const auto& rule, class T>
Var<T> unary(const Var<T>& x) {
  static OperationBase* const operation = make_unary(rule);
  return apply_shared(operation, x);
}

}  // namespace tapestry::detail
