#pragma once

#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// How an image is moved: scaled and turned about its centre, then shifted.
struct ImageMotion {
  double down = 0, right = 0;  ///< pixels
  double angle = 0;            ///< radians, counter-clockwise as seen
  double scale = 1;            ///< above 1 enlarges
};

/// Moves the images [..., height, width], all in one way, with bilinear interpolation; `fill` is outside them.
/// @throws ShapeError below rank 2, NumericalError for a motion that is not finite or a scale that is not positive
template <class T>
Tensor<T> move_images(const Tensor<T>& images, const ImageMotion& motion, T fill = 0);

/// Bounds of random motions.
struct AugmentOptions {
  double shift = 0;  ///< pixels in each direction
  double angle = 0;  ///< radians in each direction
  double scale = 1;  ///< at most this factor larger or smaller
};

/// Moves every image [..., height, width] in a way of its own, uniform within the bounds (scale: its logarithm).
template <class T>
Tensor<T> augment(const Tensor<T>& images, const AugmentOptions& options, Generator& generator, T fill = 0);

}  // namespace tapestry
