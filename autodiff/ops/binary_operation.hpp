#pragma once

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/operation.hpp>

namespace tapestry::detail {

/// All that distinguishes one elementwise operation of two arguments from another.
template <class T>
struct BinaryRule {
  std::string_view name;
  Binary kernel;
  std::uint32_t needs;
  Linearity linearity;
  void (*vjp)(Vjp<T>&);
};

/// The operation of a rule (which must have static storage). It holds no state: one object serves every call.
template <class T>
OperationBase* make_binary(const BinaryRule<T>& rule);

/// The operation of a kernel, for programs that come from a file: it has no vjp().
template <class T>
OperationBase* binary_of_kernel(Binary kernel);

/// Records the operation of a rule.
template <const auto& rule, class T>
Var<T> binary(const Var<T>& a, const Var<T>& b) {
  static OperationBase* const operation = make_binary(rule);
  return apply_shared(operation, a, b);
}

}  // namespace tapestry::detail
