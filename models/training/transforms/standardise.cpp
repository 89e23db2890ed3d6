#include <tapestry/models/training/transforms/standardise.hpp>

#include <cmath>
#include <vector>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

Shape features_of(const Shape& shape) {
  if (shape.empty()) fail<ShapeError>("Standardiser", "data of rank 0");
  return Shape(shape.begin() + 1, shape.end());
}

}  // namespace

template <class T>
Standardiser<T>::Standardiser(Tensor<T> mean, Tensor<T> deviation)
    : mean_(std::move(mean)), deviation_(std::move(deviation)) {
  if (shape_of(mean_) != shape_of(deviation_))
    fail<ShapeError>("Standardiser", "mean ", shape_of(mean_), " and deviation ", shape_of(deviation_));
}

template <class T>
Standardiser<T> Standardiser<T>::fit(const Tensor<T>& data) {
  const Shape shape = shape_of(data), features = features_of(shape);
  const auto n = static_cast<std::size_t>(shape[0]), d = static_cast<std::size_t>(features.elements());
  if (n == 0) fail<ShapeError>("Standardiser", "no data");
  std::vector<double> mean(d, 0), square(d, 0);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < d; ++k) mean[k] += static_cast<double>(data.data()[i * d + k]);
  for (double& m : mean) m /= static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < d; ++k) {
      const double difference = static_cast<double>(data.data()[i * d + k]) - mean[k];
      square[k] += difference * difference;
    }
  auto means = empty_tensor<T>(features), deviations = empty_tensor<T>(features);
  for (std::size_t k = 0; k < d; ++k) {
    const double deviation = std::sqrt(square[k] / static_cast<double>(n));
    if (!std::isfinite(deviation)) fail<NumericalError>("Standardiser", "feature ", k, " is not finite");
    means.data()[k] = static_cast<T>(mean[k]);
    deviations.data()[k] = deviation > 0 ? static_cast<T>(deviation) : T(1);
  }
  return Standardiser(std::move(means), std::move(deviations));
}

template <class T>
void Standardiser<T>::check(const Tensor<T>& data) const {
  if (features_of(shape_of(data)) != shape_of(mean_))
    fail<ShapeError>("Standardiser", "data ", shape_of(data), " where features are ", shape_of(mean_));
}

template <class T>
Tensor<T> Standardiser<T>::apply(const Tensor<T>& data) const {
  check(data);
  auto result = empty_tensor<T>(shape_of(data));
  const std::size_t d = mean_.size();
  for (std::size_t i = 0; i < data.size(); ++i)
    result.data()[i] = (data.data()[i] - mean_.data()[i % d]) / deviation_.data()[i % d];
  return result;
}

template <class T>
Tensor<T> Standardiser<T>::invert(const Tensor<T>& data) const {
  check(data);
  auto result = empty_tensor<T>(shape_of(data));
  const std::size_t d = mean_.size();
  for (std::size_t i = 0; i < data.size(); ++i)
    result.data()[i] = data.data()[i] * deviation_.data()[i % d] + mean_.data()[i % d];
  return result;
}

template class Standardiser<float>;
template class Standardiser<double>;

}  // namespace tapestry
