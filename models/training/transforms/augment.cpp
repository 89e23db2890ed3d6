#include <tapestry/models/training/transforms/augment.hpp>

#include <cmath>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

template <class T>
void move_image(const T* image, std::int64_t height, std::int64_t width, const ImageMotion& motion, T fill, T* out) {
  const double middle_y = static_cast<double>(height - 1) / 2, middle_x = static_cast<double>(width - 1) / 2;
  const double c = std::cos(motion.angle) / motion.scale, s = std::sin(motion.angle) / motion.scale;
  const auto pixel = [&](std::int64_t y, std::int64_t x) {
    return y >= 0 && y < height && x >= 0 && x < width ? static_cast<double>(image[y * width + x])
                                                       : static_cast<double>(fill);
  };
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      // Where the pixel came from.
      const double dy = static_cast<double>(y) - middle_y - motion.down;
      const double dx = static_cast<double>(x) - middle_x - motion.right;
      const double from_y = middle_y + c * dy + s * dx, from_x = middle_x - s * dy + c * dx;
      T& target = out[y * width + x];
      if (!(from_y > -1 && from_y < static_cast<double>(height) && from_x > -1 &&
            from_x < static_cast<double>(width))) {
        target = fill;
        continue;
      }
      const double top = std::floor(from_y), left = std::floor(from_x);
      const double below = from_y - top, beside = from_x - left;
      const auto iy = static_cast<std::int64_t>(top), ix = static_cast<std::int64_t>(left);
      target = static_cast<T>((1 - below) * ((1 - beside) * pixel(iy, ix) + beside * pixel(iy, ix + 1)) +
                              below * ((1 - beside) * pixel(iy + 1, ix) + beside * pixel(iy + 1, ix + 1)));
    }
}

void check(const char* operation, const Shape& shape) {
  if (shape.rank() < 2) fail<ShapeError>(operation, "images ", shape, " are not [..., height, width]");
}

}  // namespace

template <class T>
Tensor<T> move_images(const Tensor<T>& images, const ImageMotion& motion, T fill) {
  const Shape shape = shape_of(images);
  check("move_images", shape);
  if (!std::isfinite(motion.down + motion.right + motion.angle + motion.scale) || motion.scale <= 0)
    fail<NumericalError>("move_images", "shift ", motion.down, ", ", motion.right, ", angle ", motion.angle, ", scale ",
                         motion.scale);
  auto result = empty_tensor<T>(shape);
  const std::int64_t height = shape[shape.rank() - 2], width = shape.back(), size = height * width;
  for (std::int64_t at = 0; at < shape.elements(); at += size)
    move_image(images.data() + at, height, width, motion, fill, result.data() + at);
  return result;
}

template <class T>
Tensor<T> augment(const Tensor<T>& images, const AugmentOptions& options, Generator& generator, T fill) {
  const Shape shape = shape_of(images);
  check("augment", shape);
  if (!(options.shift >= 0) || !(options.angle >= 0) || !(options.scale >= 1) ||
      !std::isfinite(options.shift + options.angle + options.scale))
    fail<NumericalError>("augment", "shift ", options.shift, ", angle ", options.angle, ", scale ", options.scale);
  auto result = empty_tensor<T>(shape);
  const std::int64_t height = shape[shape.rank() - 2], width = shape.back(), size = height * width;
  const auto between = [&](double bound) { return bound * (2 * generator.uniform() - 1); };
  for (std::int64_t at = 0; at < shape.elements(); at += size) {
    ImageMotion motion;
    motion.down = between(options.shift);
    motion.right = between(options.shift);
    motion.angle = between(options.angle);
    motion.scale = std::exp(between(std::log(options.scale)));
    move_image(images.data() + at, height, width, motion, fill, result.data() + at);
  }
  return result;
}

template Tensor<float> move_images(const Tensor<float>&, const ImageMotion&, float);
template Tensor<double> move_images(const Tensor<double>&, const ImageMotion&, double);
template Tensor<float> augment(const Tensor<float>&, const AugmentOptions&, Generator&, float);
template Tensor<double> augment(const Tensor<double>&, const AugmentOptions&, Generator&, double);

}  // namespace tapestry
