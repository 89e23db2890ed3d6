#include <tapestry/autodiff/ops/broadcast_plan.hpp>

namespace tapestry::detail {
namespace {

Shape left_padded(const Shape& shape, int rank) {
  Shape out = Shape::filled(rank);
  for (int i = 1; i <= shape.rank(); ++i) out[rank - i] = shape[shape.rank() - i];
  return out;
}

}  // namespace

BroadcastPlan::BroadcastPlan(const Shape& a, const Shape& b, const Shape& out) : total_(out.elements()) {
  const auto strides_a = broadcast_strides(left_padded(a, out.rank()));
  const auto strides_b = broadcast_strides(left_padded(b, out.rank()));
  std::array<std::int64_t, Shape::max_rank> extent{}, stride_a{}, stride_b{};
  std::size_t n = 0;  // innermost first
  for (int i = out.rank() - 1; i >= 0; --i) {
    const auto axis = static_cast<std::size_t>(i);
    if (out[i] == 1) continue;
    if (n > 0 && strides_a[axis] == stride_a[n - 1] * extent[n - 1] &&
        strides_b[axis] == stride_b[n - 1] * extent[n - 1]) {
      extent[n - 1] *= out[i];
      continue;
    }
    extent[n] = out[i];
    stride_a[n] = strides_a[axis];
    stride_b[n] = strides_b[axis];
    ++n;
  }
  if (n == 0) return;
  length_ = extent[0];
  run_a_ = static_cast<std::size_t>(stride_a[0]);
  run_b_ = static_cast<std::size_t>(stride_b[0]);
  rank_ = static_cast<int>(n) - 1;
  for (std::size_t i = 1; i < n; ++i) {
    const std::size_t axis = n - 1 - i;
    extent_[axis] = extent[i];
    stride_a_[axis] = stride_a[i];
    stride_b_[axis] = stride_b[i];
  }
}

}  // namespace tapestry::detail
