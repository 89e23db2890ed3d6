#pragma once

#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// A matrix whose rows, or columns, belong to channels: row r to channel r % channels, or column c to channel c.
struct ChannelView {
  std::int64_t rows, columns, channels;
  bool by_column;
};

template <class T>
struct NormalizationKernels {
  /// The mean and the sum of squared deviations from it, of each row or of each column.
  void (*moments)(const T* x, const ChannelView& v, T* mean, T* deviations);
  /// y = (x - mean) scale + shift, by channel.
  void (*normalize)(const T* x, const ChannelView& v, const T* mean, const T* scale, const T* shift, T* y);
  /// The sums of g and of g (x - mean) of each row or column; the mean is by channel.
  void (*products)(const T* g, const T* x, const ChannelView& v, const T* mean, T* sum, T* product);
  /// out (+)= a g + b (x - mean) + c, by channel.
  void (*combine)(const T* g, const T* x, const ChannelView& v, const T* mean, const T* a, const T* b, const T* c,
                  T* out, bool accumulate);
  /// y = (x - mean) inverse weight + bias: mean and inverse deviation by row, weight and bias by column.
  void (*layer)(const T* x, std::int64_t rows, std::int64_t columns, const T* mean, const T* inverse, const T* weight,
                const T* bias, T* y);
  /// The gradients of that, through the moments of the rows. out may be null; weight_sum and bias_sum are added to.
  void (*layer_backward)(const T* g, const T* x, std::int64_t rows, std::int64_t columns, const T* mean,
                         const T* inverse, const T* weight, T* out, bool accumulate, T* weight_sum, T* bias_sum);
};

}  // namespace tapestry::detail
