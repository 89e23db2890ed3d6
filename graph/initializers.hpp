#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// How many inputs an output of a layer is made of, and how many outputs an input goes into.
struct Fans {
  std::int64_t in = 1, out = 1;
};
/// Of a weight [in, out] of linear(). @throws ShapeError for another rank
Fans linear_fans(const Shape& weight);
/// Of filters [outputs, channels / groups, kernel...]. @throws ShapeError below rank 3 or where groups do not divide
Fans convolution_fans(const Shape& weight, std::int64_t groups = 1);
/// Of filters [channels, outputs / groups, kernel...] of a transposed convolution of stride 1.
Fans transposed_convolution_fans(const Shape& weight, std::int64_t groups = 1);
/// linear_fans() for rank 2, convolution_fans() above. @throws ShapeError below rank 2
Fans fans_of(const Shape& weight);

/// How a parameter starts: a value that layers take as an option. float and double get the same numbers, rounded.
class Initializer {
 public:
  /// What an initialiser draws from. Fans are those of the shape where the layer does not give others.
  struct Request {
    Shape shape;
    std::optional<Fans> known_fans;
    Generator& generator;
    Fans fans() const { return known_fans ? *known_fans : fans_of(shape); }
  };
  using Draw = std::function<Tensor<double>(const Request&)>;

  /// An initialiser of one's own.
  Initializer(Draw draw) : draw_(std::move(draw)) {}

  /// @throws ShapeError where the initialiser does not suit the shape
  template <class T>
  Tensor<T> tensor(const Shape& shape, Generator& generator, std::optional<Fans> fans = {}) const;
  /// A leaf that requires a gradient.
  template <class T>
  Var<T> parameter(const Shape& shape, Generator& generator, std::optional<Fans> fans = {}) const {
    return Var<T>(tensor<T>(shape, generator, fans), true);
  }

 private:
  Draw draw_;
};

/// The factor that keeps the variance of what passes through: 1 for linear and sigmoid, 5/3 for tanh,
/// sqrt(2 / (1 + slope^2)) for (leaky) rectifiers, 3/4 for selu.
enum class Nonlinearity { linear, sigmoid, tanh, relu, leaky_relu, selu };
double gain_of(Nonlinearity nonlinearity, double slope = 0.01);

/// Which fan a variance is divided by.
enum class FanMode { in, out, average };

namespace initializers {

/// All elements the same.
Initializer constant(double value);
/// @throws NumericalError unless low <= high, both finite
Initializer uniform(double low, double high);
/// @throws NumericalError unless deviation >= 0, both finite
Initializer normal(double mean = 0, double deviation = 1);

/// Variance 2 gain^2 / (in + out) (Glorot and Bengio 2010).
/// @{
Initializer xavier_uniform(double gain = 1);
Initializer xavier_normal(double gain = 1);
/// @}

/// Variance 2 / ((1 + slope^2) fan) for rectifiers of that negative slope (He et al. 2015).
/// @{
Initializer he_uniform(double slope = 0, FanMode mode = FanMode::in);
Initializer he_normal(double slope = 0, FanMode mode = FanMode::in);
/// @}

/// Variance 1 / in (LeCun et al. 1998).
/// @{
Initializer lecun_uniform();
Initializer lecun_normal();
/// @}

/// gain times a matrix with orthonormal rows or columns, whichever are fewer, drawn uniformly (Saxe et al. 2014;
/// Mezzadri 2007). Filters count as a matrix [first axis, the rest].
Initializer orthogonal(double gain = 1);

/// Weights [in, out] in which each output has `connections` inputs, normal with that deviation, and zeros elsewhere
/// (Martens 2010).
Initializer sparse(std::int64_t connections = 15, double deviation = 1);

}  // namespace initializers
}  // namespace tapestry
