#pragma once

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/strided_copy.hpp>

namespace tapestry::detail {

/// Which elements of an array make up another: element i of the view is element offset + sum_k i_k strides_k. All are
/// different.
struct View {
  std::string_view name;
  Shape whole, part;
  std::int64_t offset = 0;
  Strides strides{};

  /// Whether every element of the whole is in the view.
  bool onto() const noexcept { return whole.elements() == part.elements(); }
};

/// The view of x, by a copy; its backward touches only the places in view.
template <class T>
Var<T> view(const View& view, const Var<T>& x);
/// The transpose of view(): x at its places in an array that is `fill` elsewhere.
template <class T>
Var<T> place(const View& view, const Var<T>& x, T fill = T(0));

}  // namespace tapestry::detail
