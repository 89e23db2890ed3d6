#pragma once

#include <algorithm>
#include <cstdint>

#include <tapestry/autodiff/operation.hpp>

namespace tapestry::detail {

/// The output's gradient in runs: one, or where it is one number for all, a short array of it again and again.
template <class T>
class GradientRuns {
 public:
  GradientRuns(Backward<T>& c, std::int64_t n) : uniform_(c.uniform_gradient() != nullptr) {
    if (uniform_)
      std::fill_n(repeated_, std::min(n, length), *c.uniform_gradient());
    else
      data_ = c.gradient().data;
  }
  /// Calls f(gradient, begin, end) for the runs of [begin, end).
  template <class F>
  void for_each(std::int64_t begin, std::int64_t end, F f) const {
    if (!uniform_) return f(data_ + begin, begin, end);
    for (; begin < end; begin += length) f(static_cast<const T*>(repeated_), begin, std::min(begin + length, end));
  }

 private:
  static constexpr std::int64_t length = 1024;
  bool uniform_;
  const T* data_ = nullptr;
  T repeated_[length];
};

}  // namespace tapestry::detail
