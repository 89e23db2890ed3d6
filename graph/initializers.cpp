#include <tapestry/graph/initializers.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/decomposition.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry {
namespace {

std::int64_t kernel_elements(const char* operation, const Shape& weight) {
  if (weight.rank() < 3) fail<ShapeError>(operation, "a weight of shape ", weight, " has no kernel");
  std::int64_t elements = 1;
  for (int i = 2; i < weight.rank(); ++i) elements *= weight[i];
  return elements;
}

void check_groups(const char* operation, std::int64_t channels, std::int64_t groups) {
  if (groups < 1 || channels % groups != 0)
    fail<ShapeError>(operation, channels, " channels do not fall into ", groups, " groups");
}

void check_finite(const char* operation, const char* what, double value) {
  if (!std::isfinite(value)) fail<NumericalError>(operation, "a ", what, " of ", value);
}

// The fan that divides a variance; an empty weight has none that matters.
double fan(const Fans& fans, FanMode mode) {
  const double value = mode == FanMode::in    ? static_cast<double>(fans.in)
                       : mode == FanMode::out ? static_cast<double>(fans.out)
                                              : 0.5 * static_cast<double>(fans.in + fans.out);
  return std::max(value, 1.0);
}

// A distribution of mean 0 and variance scale^2 / fan.
Initializer scaled(double scale, FanMode mode, bool is_uniform) {
  return Initializer([=](const Initializer::Request& request) {
    const double deviation = scale / std::sqrt(fan(request.fans(), mode));
    if (!is_uniform) return request.generator.normal<double>(request.shape, 0, deviation);
    const double limit = std::sqrt(3.0) * deviation;
    return request.generator.uniform<double>(request.shape, -limit, limit);
  });
}

double he_scale(const char* operation, double slope) {
  check_finite(operation, "slope", slope);
  return std::sqrt(2 / (1 + slope * slope));
}

Tensor<double> draw_orthogonal(const Initializer::Request& request, double gain) {
  const Shape& shape = request.shape;
  if (shape.rank() < 2) fail<ShapeError>("orthogonal", "a weight of shape ", shape, " is no matrix");
  Tensor<double> out = empty_tensor<double>(shape);
  if (shape.elements() == 0) return out;
  const std::int64_t rows = shape[0], columns = shape.elements() / rows;
  const std::int64_t tall = std::max(rows, columns), narrow = std::min(rows, columns);
  const NoGradients constant;
  // R's diagonal is not negative, which makes Q uniform.
  const Var<double> q = qr(Var<double>(request.generator.normal<double>({tall, narrow}))).q;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      out.data()[i * columns + j] = gain * q.data()[rows >= columns ? i * narrow + j : j * narrow + i];
  return out;
}

Tensor<double> draw_sparse(const Initializer::Request& request, std::int64_t connections, double deviation) {
  const Shape& shape = request.shape;
  if (shape.rank() != 2) fail<ShapeError>("sparse", "a weight of shape ", shape, " is not [in, out]");
  const std::int64_t in = shape[0], out = shape[1], used = std::min(connections, in);
  Tensor<double> weight = empty_tensor<double>(shape);
  std::fill_n(weight.data(), shape.elements(), 0.0);
  const Tensor<double> values = request.generator.normal<double>({out, used}, 0, deviation);
  for (std::int64_t j = 0; j < out; ++j) {
    const IndexTensor order = request.generator.permutation(in);
    for (std::int64_t k = 0; k < used; ++k) weight.data()[order.data()[k] * out + j] = values.data()[j * used + k];
  }
  return weight;
}

}  // namespace

Fans linear_fans(const Shape& weight) {
  if (weight.rank() != 2) fail<ShapeError>("linear_fans", "a weight of shape ", weight, " is not [in, out]");
  return {weight[0], weight[1]};
}

Fans convolution_fans(const Shape& weight, std::int64_t groups) {
  const std::int64_t kernel = kernel_elements("convolution_fans", weight);
  check_groups("convolution_fans", weight[0], groups);
  return {weight[1] * kernel, weight[0] / groups * kernel};
}

Fans transposed_convolution_fans(const Shape& weight, std::int64_t groups) {
  const std::int64_t kernel = kernel_elements("transposed_convolution_fans", weight);
  check_groups("transposed_convolution_fans", weight[0], groups);
  return {weight[0] / groups * kernel, weight[1] * kernel};
}

Fans fans_of(const Shape& weight) {
  if (weight.rank() < 2) fail<ShapeError>("fans_of", "a weight of shape ", weight, " has no inputs and outputs");
  return weight.rank() == 2 ? linear_fans(weight) : convolution_fans(weight);
}

template <class T>
Tensor<T> Initializer::tensor(const Shape& shape, Generator& generator, std::optional<Fans> fans) const {
  Tensor<double> drawn = draw_({shape, fans, generator});
  if (shape_of(drawn) != shape)
    fail<ShapeError>("Initializer", "drew a tensor of shape ", shape_of(drawn), " for one of shape ", shape);
  if constexpr (std::is_same_v<T, double>) {
    return drawn;
  } else {
    Tensor<T> rounded = empty_tensor<T>(shape);
    std::transform(drawn.begin(), drawn.end(), rounded.begin(), [](double x) { return static_cast<T>(x); });
    return rounded;
  }
}
template Tensor<float> Initializer::tensor(const Shape&, Generator&, std::optional<Fans>) const;
template Tensor<double> Initializer::tensor(const Shape&, Generator&, std::optional<Fans>) const;

double gain_of(Nonlinearity nonlinearity, double slope) {
  switch (nonlinearity) {
    case Nonlinearity::tanh:
      return 5.0 / 3;
    case Nonlinearity::relu:
      return std::sqrt(2.0);
    case Nonlinearity::leaky_relu:
      return he_scale("gain_of", slope);
    case Nonlinearity::selu:
      return 0.75;
    case Nonlinearity::linear:
    case Nonlinearity::sigmoid:
      break;
  }
  return 1;
}

namespace initializers {

Initializer constant(double value) {
  return Initializer([=](const Initializer::Request& request) {
    Tensor<double> out = empty_tensor<double>(request.shape);
    std::fill_n(out.data(), request.shape.elements(), value);
    return out;
  });
}

Initializer uniform(double low, double high) {
  if (!(low <= high) || !std::isfinite(low) || !std::isfinite(high))
    fail<NumericalError>("uniform", "the interval [", low, ", ", high, ")");
  return Initializer(
      [=](const Initializer::Request& request) { return request.generator.uniform<double>(request.shape, low, high); });
}

Initializer normal(double mean, double deviation) {
  check_finite("normal", "mean", mean);
  if (!(deviation >= 0) || !std::isfinite(deviation)) fail<NumericalError>("normal", "a deviation of ", deviation);
  return Initializer([=](const Initializer::Request& request) {
    return request.generator.normal<double>(request.shape, mean, deviation);
  });
}

Initializer xavier_uniform(double gain) {
  check_finite("xavier_uniform", "gain", gain);
  return scaled(std::fabs(gain), FanMode::average, true);
}
Initializer xavier_normal(double gain) {
  check_finite("xavier_normal", "gain", gain);
  return scaled(std::fabs(gain), FanMode::average, false);
}

Initializer he_uniform(double slope, FanMode mode) {
  return scaled(he_scale("he_uniform", slope), mode, true);
}
Initializer he_normal(double slope, FanMode mode) {
  return scaled(he_scale("he_normal", slope), mode, false);
}

Initializer lecun_uniform() {
  return scaled(1, FanMode::in, true);
}
Initializer lecun_normal() {
  return scaled(1, FanMode::in, false);
}

Initializer orthogonal(double gain) {
  check_finite("orthogonal", "gain", gain);
  return Initializer([=](const Initializer::Request& request) { return draw_orthogonal(request, gain); });
}

Initializer sparse(std::int64_t connections, double deviation) {
  if (connections < 0) fail<ShapeError>("sparse", connections, " connections");
  if (!(deviation >= 0) || !std::isfinite(deviation)) fail<NumericalError>("sparse", "a deviation of ", deviation);
  return Initializer([=](const Initializer::Request& request) { return draw_sparse(request, connections, deviation); });
}

}  // namespace initializers
}  // namespace tapestry
