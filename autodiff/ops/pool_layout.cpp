#include <tapestry/autodiff/ops/pool_layout.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;

PoolAxis regular(std::string_view name, const Shape& x, int axis, Int window, Int stride, Int padding,
                 bool count_padding) {
  if (window < 1 || stride < 1)
    fail<ShapeError>(name, "a window of ", window, " and a stride of ", stride, " for x ", x);
  if (padding < 0 || 2 * padding > window)
    fail<ShapeError>(name, "a padding of ", padding, " is not within 0 and half a window of ", window);
  PoolAxis w{x[axis], {}, {}, {}};
  if (x[axis] + 2 * padding < window || x[axis] == 0)
    fail<ShapeError>(name, "a window of ", window, " is larger than the padded x ", x);
  for (Int i = 0; i * stride + window <= x[axis] + 2 * padding; ++i) {
    const Int from = i * stride - padding;
    w.begin.push_back(std::max<Int>(0, from));
    w.end.push_back(std::min(from + window, x[axis]));
    // With half a window of padding, the last window may lie in it altogether.
    if (w.begin.back() >= w.end.back()) {
      w.begin.pop_back();
      w.end.pop_back();
      break;
    }
    w.factor.push_back(1.0 / static_cast<double>(count_padding ? window : w.end.back() - w.begin.back()));
  }
  return w;
}

PoolAxis adaptive(std::string_view name, const Shape& x, int axis, Int count) {
  if (count < 1) fail<ShapeError>(name, count, " windows for x ", x);
  if (x[axis] == 0) fail<ShapeError>(name, "x ", x, " has no elements to pool");
  PoolAxis w{x[axis], {}, {}, {}};
  for (Int i = 0; i < count; ++i) {
    w.begin.push_back(i * x[axis] / count);
    w.end.push_back(((i + 1) * x[axis] + count - 1) / count);
    w.factor.push_back(1.0 / static_cast<double>(w.end.back() - w.begin.back()));
  }
  return w;
}

}  // namespace

void check_pool_rank(std::string_view name, const Shape& x, int axes) {
  if (x.rank() < axes) fail<ShapeError>(name, "x needs at least ", axes, axes == 1 ? " axis, not " : " axes, not ", x);
}

// Each axis by itself: g++ 12 destroys the members of an aggregate twice where an initialiser throws.
PoolLayout pool_layout(std::string_view name, const Shape& x, std::int64_t window, const Pool1dOptions& o) {
  check_pool_rank(name, x, 1);
  PoolAxis columns = regular(name, x, x.rank() - 1, window, o.stride.value_or(window), o.padding, o.count_padding);
  return {name, 1, {}, std::move(columns)};
}
PoolLayout pool_layout(std::string_view name, const Shape& x, HeightWidth window, const Pool2dOptions& o) {
  check_pool_rank(name, x, 2);
  const HeightWidth stride = o.stride.value_or(window);
  PoolAxis rows = regular(name, x, x.rank() - 2, window.height, stride.height, o.padding.height, o.count_padding);
  PoolAxis columns = regular(name, x, x.rank() - 1, window.width, stride.width, o.padding.width, o.count_padding);
  return {name, 2, std::move(rows), std::move(columns)};
}
PoolLayout adaptive_pool_layout(std::string_view name, const Shape& x, std::int64_t count) {
  check_pool_rank(name, x, 1);
  PoolAxis columns = adaptive(name, x, x.rank() - 1, count);
  return {name, 1, {}, std::move(columns)};
}
PoolLayout adaptive_pool_layout(std::string_view name, const Shape& x, HeightWidth count) {
  check_pool_rank(name, x, 2);
  PoolAxis rows = adaptive(name, x, x.rank() - 2, count.height);
  PoolAxis columns = adaptive(name, x, x.rank() - 1, count.width);
  return {name, 2, std::move(rows), std::move(columns)};
}

}  // namespace tapestry::detail
