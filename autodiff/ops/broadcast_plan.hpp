#pragma once

#include <array>
#include <cstdint>

#include <tapestry/autodiff/shape.hpp>

namespace tapestry::detail {

/// How to walk two broadcast inputs in the order of the output: runs of `length` elements in which each input either
/// stands still or walks along. Axes that can be walked as one are merged.
class BroadcastPlan {
 public:
  BroadcastPlan(const Shape& a, const Shape& b, const Shape& out);

  /// f(offset a, stride a, offset b, stride b, offset out, length) for each run; strides are 0 or 1.
  template <class F>
  void for_each_run(F f) const {
    if (total_ == 0) return;
    std::array<std::int64_t, Shape::max_rank> position{};
    std::int64_t offset_a = 0, offset_b = 0;
    for (std::int64_t out = 0; out < total_; out += length_) {
      f(offset_a, run_a_, offset_b, run_b_, out, length_);
      for (int i = rank_ - 1; i >= 0; --i) {
        const auto axis = static_cast<std::size_t>(i);
        offset_a += stride_a_[axis];
        offset_b += stride_b_[axis];
        if (++position[axis] < extent_[axis]) break;
        offset_a -= stride_a_[axis] * extent_[axis];
        offset_b -= stride_b_[axis] * extent_[axis];
        position[axis] = 0;
      }
    }
  }

 private:
  std::int64_t total_ = 1, length_ = 1;
  std::size_t run_a_ = 0, run_b_ = 0;
  int rank_ = 0;  // axes outside the runs
  std::array<std::int64_t, Shape::max_rank> extent_{}, stride_a_{}, stride_b_{};
};

}  // namespace tapestry::detail
