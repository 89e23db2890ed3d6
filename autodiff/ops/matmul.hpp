#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

struct MatmulOptions {
  /// Take the last two axes of an operand in the other order, without a copy. A vector is left as it is.
  bool transpose_a = false;
  bool transpose_b = false;
};

/// Matrix products over the last two axes, [..., m, k] x [..., k, n] to [..., m, n]. The leading axes broadcast as in
/// NumPy; a vector on the left is a row, one on the right a column, and its axis is left out of the result.
/// @throws ShapeError where the inner extents differ, the leading axes do not broadcast, or an operand has no axis
template <class T>
Var<T> matmul(const Var<T>& a, const Var<T>& b, MatmulOptions options = {});

/// The sum of a_i b_i for two vectors. @throws ShapeError unless both are vectors of one length
template <class T>
Var<T> dot(const Var<T>& a, const Var<T>& b);

/// All products a_i b_j, [a's size, b's size]; the arguments are taken as vectors.
template <class T>
Var<T> outer(const Var<T>& a, const Var<T>& b);

}  // namespace tapestry
