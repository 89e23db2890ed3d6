#pragma once

#include <memory>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

namespace detail {
template <class T>
class FilterPlan;
}

/// How a GaussianFilter computes its sums.
enum class FilterMethod {
  automatic,  ///< exact to 1024 points, then the lattice
  exact,      ///< all pairs: quadratic in the number of points
  lattice     ///< permutohedral lattice: linear
};

struct GaussianFilterOptions {
  FilterMethod method = FilterMethod::automatic;
  /// Whether a point's own value is part of its sum. Not so in a model of pairs.
  bool include_self = false;
  /// Divides the weight of a pair by the root of both points' sums of weights, so that a point among many others does
  /// not hear from them more than one that stands alone.
  bool normalize = false;
};

/// Sums over points, weighted by a Gaussian of their features' difference:
///   out_i = sum_j exp(-|f_i - f_j|^2 / 2) in_j.
/// Features are positions, colours and the like, divided by their standard deviations. Made once for some points; cheap
/// to copy. The lattice's sums are off (root mean square, relative) by 1.5 % in the plane; among positions and colours,
/// where most corners of the lattice are missing, by 30 %, but by 4 % where they are normalised.
template <class T>
class GaussianFilter {
 public:
  /// features [points, dimensions]. @throws ShapeError, NumericalError for features that are not finite
  explicit GaussianFilter(const Tensor<T>& features, GaussianFilterOptions options = {});

  /// Values [points, channels] in, the same out. Linear: the gradient is the transposed filter, of any order.
  /// @throws ShapeError
  Var<T> operator()(const Var<T>& values) const;

  std::int64_t points() const;
  bool exact() const;
  /// Whether points are left out of their own sums.
  bool of_pairs() const;
  /// Vertices of the lattice, 0 where it is not used.
  std::int64_t vertices() const;

 private:
  std::shared_ptr<const detail::FilterPlan<T>> plan_;
};

/// Features of an image's pixels, row by row: positions / position_deviation, and with an image [height, width,
/// channels] also its values / color_deviation. [height * width, 2 (+ channels)] @throws ShapeError, NumericalError
template <class T>
Tensor<T> pixel_features(std::int64_t height, std::int64_t width, T position_deviation);
template <class T>
Tensor<T> pixel_features(const Tensor<T>& image, T position_deviation, T color_deviation);

#define TAPESTRY_EXTERN(T)                                                                 \
  extern template class GaussianFilter<T>;                                                 \
  extern template Tensor<T> pixel_features<T>(std::int64_t height, std::int64_t width, T); \
  extern template Tensor<T> pixel_features<T>(const Tensor<T>&, T, T);
TAPESTRY_EXTERN(float)
TAPESTRY_EXTERN(double)
#undef TAPESTRY_EXTERN

}  // namespace tapestry
