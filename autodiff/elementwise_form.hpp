#pragma once

namespace tapestry::detail {

/// Which of the elementwise kernels (kernels/elementwise.hpp) an operation is.
struct ElementwiseForm {
  enum class Kind {
    unary,
    parametric,
    binary,
    select,     ///< condition, a, b
    broadcast,  ///< input 0 repeated to the output's shape
    window,     ///< parts of input 0 at other places
    unary_backward,
    parametric_backward,
    binary_backward_a,
    binary_backward_b,
    select_backward,
  };
  Kind kind = Kind::unary;
  int function = 0;     ///< Unary, Parametric or Binary
  double p = 0, q = 0;  ///< of a parametric function; p != 0: the side of select_backward
  friend bool operator==(const ElementwiseForm&, const ElementwiseForm&) = default;
};

}  // namespace tapestry::detail
