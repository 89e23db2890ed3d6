#pragma once

#include <algorithm>
#include <string_view>

#include <tapestry/autodiff/kernels/reduce.hpp>
#include <tapestry/autodiff/shape.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {

/// A shape seen as outer x axes [begin, end) x inner.
inline AxisView axis_view(const Shape& shape, int begin, int end) {
  AxisView view{1, 1, 1};
  for (int i = 0; i < shape.rank(); ++i)
    (i < begin ? view.outer : i < end ? view.axis : view.inner) *= static_cast<std::size_t>(shape[i]);
  return view;
}

/// f(first outer index, view of some of them) over the threads, in pieces of about `grain` elements.
template <class F>
void for_outer(AxisView view, std::int64_t grain, F f) {
  const auto slab = static_cast<std::int64_t>(std::max<std::size_t>(1, view.axis * view.inner));
  parallel_for(
      static_cast<std::int64_t>(view.outer), std::max<std::int64_t>(1, grain / slab),
      [&](std::int64_t begin, std::int64_t end) {
        f(static_cast<std::size_t>(begin), AxisView{static_cast<std::size_t>(end - begin), view.axis, view.inner});
      });
}

}  // namespace tapestry::detail
