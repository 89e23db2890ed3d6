#pragma once

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// Shifts and scales each feature to mean 0 and variance 1 over the data it was fitted to. Data are [n, ...features];
/// T is float or double, sums are in double. A feature that never changes is only shifted.
template <class T>
class Standardiser {
 public:
  /// @throws ShapeError for rank 0 or no data, NumericalError for data that is not finite
  static Standardiser fit(const Tensor<T>& data);
  Standardiser(Tensor<T> mean, Tensor<T> deviation);

  /// @throws ShapeError unless the features are those of the fit
  Tensor<T> apply(const Tensor<T>& data) const;
  /// Undoes apply().
  Tensor<T> invert(const Tensor<T>& data) const;

  const Tensor<T>& mean() const noexcept { return mean_; }
  const Tensor<T>& deviation() const noexcept { return deviation_; }

 private:
  void check(const Tensor<T>& data) const;
  Tensor<T> mean_, deviation_;
};

}  // namespace tapestry
