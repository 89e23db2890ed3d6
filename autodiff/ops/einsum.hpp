#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Einstein's summation: einsum("bij,bjk->bik", {a, b}). A letter names an axis; those that the result does not have
/// are summed over, a letter twice in one operand takes its diagonal, and "..." stands for axes that broadcast. Without
/// "->" the result has the letters that occur once, in alphabetical order, behind the axes of "...". Extents of 1
/// broadcast. Two operands at a time are contracted by a matrix product, in the order that needs the fewest
/// multiplications (of all orders up to 8 operands, greedily beyond).
/// @throws ShapeError where the string and the shapes do not fit
template <class T>
Var<T> einsum(std::string_view equation, const std::vector<Var<T>>& operands);

template <class T>
Var<T> einsum(std::string_view equation, std::initializer_list<Var<T>> operands) {
  return einsum<T>(equation, std::vector<Var<T>>(operands));
}

template <class T, class... Vars>
Var<T> einsum(std::string_view equation, const Var<T>& first, const Vars&... rest) {
  return einsum<T>(equation, std::vector<Var<T>>{first, rest...});
}

}  // namespace tapestry
