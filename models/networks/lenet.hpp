#pragma once

#include <tapestry/models/layers/convolution.hpp>
#include <tapestry/models/layers/linear.hpp>

namespace tapestry {

/// A convolutional network after LeCun, Bottou, Bengio and Haffner (1998): two convolutions of 5x5 with rectifiers,
/// each with 2x2 max-pooling, and a hidden layer, on images [batch, channels, height, width].
template <class T>
class LeNet {
 public:
  struct Sizes {
    std::int64_t first = 20, second = 50, hidden = 500;
  };
  LeNet() = default;
  /// @throws ShapeError for images smaller than 16x16
  LeNet(std::int64_t channels, HeightWidth image, std::int64_t classes, Generator& generator, const Sizes& sizes);
  LeNet(std::int64_t channels, HeightWidth image, std::int64_t classes, Generator& generator)
      : LeNet(channels, image, classes, generator, Sizes()) {}
  /// Scores [batch, classes].
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) { m("first", first)("second", second)("hidden", hidden)("output", output); }

  Conv2d<T> first, second;
  Linear<T> hidden, output;
};

extern template class LeNet<float>;
extern template class LeNet<double>;

}  // namespace tapestry
