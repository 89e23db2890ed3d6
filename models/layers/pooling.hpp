#pragma once

#include <tapestry/autodiff/ops/pooling.hpp>

namespace tapestry {

/// Pooling as layers without parameters, for Sequential.
/// @{
struct MaxPool1d {
  std::int64_t window;
  Pool1dOptions options = {};
  template <class T>
  Var<T> forward(const Var<T>& x) const {
    return max_pool1d(x, window, options);
  }
};
struct MaxPool2d {
  HeightWidth window;
  Pool2dOptions options = {};
  template <class T>
  Var<T> forward(const Var<T>& x) const {
    return max_pool2d(x, window, options);
  }
};
struct AvgPool1d {
  std::int64_t window;
  Pool1dOptions options = {};
  template <class T>
  Var<T> forward(const Var<T>& x) const {
    return avg_pool1d(x, window, options);
  }
};
struct AvgPool2d {
  HeightWidth window;
  Pool2dOptions options = {};
  template <class T>
  Var<T> forward(const Var<T>& x) const {
    return avg_pool2d(x, window, options);
  }
};
/// @}

}  // namespace tapestry
