#pragma once

#include <cstdint>

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

enum class Whitening {
  pca,  ///< onto the principal axes, the largest variance first
  zca,  ///< and back to the features: of all whitenings nearest to the data (Bell and Sejnowski 1997)
};

struct WhitenOptions {
  Whitening kind = Whitening::zca;
  double epsilon = 1e-5;        ///< added to every variance before its root is taken
  std::int64_t components = 0;  ///< principal axes that are kept; 0: all
};

/// A linear map after which the data it was fitted to has covariance 1 (without epsilon). Data are [n, d]; the fit is
/// in double.
template <class T>
class Whitener {
 public:
  /// @throws ShapeError unless data is [n, d] with n > 0 and components <= d; NumericalError for data that is not
  /// finite
  static Whitener fit(const Tensor<T>& data, const WhitenOptions& options = {});

  /// [n, d] to [n, components] (pca) or [n, d] (zca). @throws ShapeError
  Tensor<T> apply(const Tensor<T>& data) const;
  /// Undoes apply(), as far as the axes kept allow.
  Tensor<T> invert(const Tensor<T>& data) const;

  const Tensor<T>& mean() const noexcept { return mean_; }
  /// Variances along the axes that are kept, largest first.
  const Tensor<double>& variances() const noexcept { return variances_; }

 private:
  Tensor<T> mean_, forward_, backward_;  // [d], [d, out], [out, d]
  Tensor<double> variances_;
};

}  // namespace tapestry
