#include <tapestry/models/networks/lenet.hpp>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/pooling.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>

namespace tapestry {

template <class T>
LeNet<T>::LeNet(std::int64_t channels, HeightWidth image, std::int64_t classes, Generator& generator,
                const Sizes& sizes) {
  if (image.height < 16 || image.width < 16)
    fail<ShapeError>("LeNet", "images of ", image.height, " by ", image.width, " are smaller than 16 by 16");
  const auto left = [](std::int64_t n) { return ((n - 4) / 2 - 4) / 2; };
  first = Conv2d<T>(channels, sizes.first, 5, generator);
  second = Conv2d<T>(sizes.first, sizes.second, 5, generator);
  hidden = Linear<T>(sizes.second * left(image.height) * left(image.width), sizes.hidden, generator,
                     {.activation = Activation::relu});
  output = Linear<T>(sizes.hidden, classes, generator);
}

template <class T>
Var<T> LeNet<T>::forward(const Var<T>& x) const {
  const Var<T> low = max_pool2d(relu(first.forward(x)), 2);
  const Var<T> high = max_pool2d(relu(second.forward(low)), 2);
  return output.forward(hidden.forward(reshape(high, {x.extent(0), hidden.weight.extent(0)})));
}

template class LeNet<float>;
template class LeNet<double>;

}  // namespace tapestry
